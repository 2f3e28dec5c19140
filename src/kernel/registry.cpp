#include "src/kernel/registry.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <atomic>
#include <memory>

#include "src/util/text.hpp"

namespace librt {

// What librt brings along: a line each, the order that of lists.
#define LIBRT_KERNELS(KERNEL) \
  KERNEL(gqa_decode)          \
  KERNEL(mla_decode)          \
  KERNEL(merge_states)        \
  KERNEL(append_kv)

namespace kernels {
#define LIBRT_DECLARE(name) extern const KernelDescription name;
LIBRT_KERNELS(LIBRT_DECLARE)
#undef LIBRT_DECLARE
}  // namespace kernels

namespace kernel {
namespace {

/// A list that only grows: whoever looks needs no lock, also in a child that was forked while somebody added. Nothing
/// is ever freed, since specs point into it until the process ends.
class Registry {
 public:
  Registry() {
#define LIBRT_ADD(name) add(kernels::name);
    LIBRT_KERNELS(LIBRT_ADD)
#undef LIBRT_ADD
  }

  const KernelKind& add(const KernelDescription& description) {
    auto kind = std::make_unique<KernelKind>(description);
    for (std::atomic<const KernelKind*>* end = &first_;;) {
      const KernelKind* there = nullptr;
      if (end->compare_exchange_strong(there, kind.get())) break;
      if (there->description().name == description.name) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("kernel {} is there already; allowed: another name", description.name));
      }
      end = &there->next;
    }
    count_.fetch_add(1);
    return *kind.release();
  }

  std::size_t count() const noexcept {
    return count_.load();
  }
  const KernelKind* first() const noexcept {
    return first_.load();
  }

 private:
  std::atomic<const KernelKind*> first_{nullptr};
  std::atomic<std::size_t> count_{0};
};

Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

}  // namespace

const KernelKind& add(const KernelDescription& description) {
  return registry().add(description);
}

const KernelKind& require(std::string_view name) {
  if (const KernelKind* const kind = find_kernel(name)) return *kind;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("kernel {} is not known{}", util::in_quotes(name), util::allowed_names(name, names())));
}

std::size_t count() {
  return registry().count();
}

std::vector<KernelSource> added_sources() {
  std::vector<KernelSource> sources;
  for (const KernelKind* kind = registry().first(); kind != nullptr; kind = kind->next.load()) {
    const auto own = kind->description().sources;
    sources.insert(sources.end(), own.begin(), own.end());
  }
  return sources;
}

std::vector<std::string_view> names() {
  std::vector<std::string_view> all;
  for (const KernelKind* kind : kernel_kinds()) all.push_back(kind->description().name);
  return all;
}

}  // namespace kernel

const KernelDescription& description(const KernelKind& kind) noexcept {
  return kind.description();
}

const KernelKind* find_kernel(std::string_view name) {
  const KernelKind* kind = kernel::registry().first();
  while (kind != nullptr && kind->description().name != name) kind = kind->next.load();
  return kind;
}

std::vector<const KernelKind*> kernel_kinds() {
  std::vector<const KernelKind*> kinds;
  for (const KernelKind* kind = kernel::registry().first(); kind != nullptr; kind = kind->next.load()) {
    if (!kind->description().internal) kinds.push_back(kind);
  }
  return kinds;
}

}  // namespace librt
