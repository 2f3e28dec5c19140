#include "src/api/specialize.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string_view>
#include <utility>

#include "src/kernel/kind.hpp"
#include "src/kernel/registry.hpp"

namespace librt::api {
namespace {

using nlohmann::json;

/// Member by member, here and where else a first request comes by: json's initializer lists end the process where
/// memory runs out in the middle of one.
std::string facts(const Spec& spec, const KernelVariant& variant) {
  json facts = json::object();
  facts["kernel"] = spec.kernel();
  const auto fields = description(*spec.kind()).fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!fields[i].in_key) continue;
    json& value = facts[std::string(fields[i].name)];
    if (fields[i].dtypes.empty()) {
      value = spec.at(i);
    } else {
      value = to_string(static_cast<DType>(spec.at(i)));
    }
  }
  // All that a launch needs to know: what is launched in another way is another entry, whatever its text.
  facts["block_threads"] = variant.block_threads;
  facts["shared_bytes"] = variant.shared_bytes;
  for (const auto& [name, value] :
       {std::pair("tile_tokens", variant.tile_tokens), {"stages", variant.stages}, {"rows", variant.rows}}) {
    if (value != 0) facts[name] = value;
  }
  return facts.dump();
}

void require_possible(const KernelDescription& kernel, const KernelVariant& variant) {
  constexpr int kMaxThreads = 1024, kMaxShared = 227 * 1024;
  const auto require = [&](std::string_view name, int value, int low, int high) {
    if (value >= low && value <= high) return;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("kernel {}: specialize gave {}={}; allowed: {}..{}", kernel.name, name, value, low, high));
  };
  require("block_threads", variant.block_threads, 1, kMaxThreads);
  require("shared_bytes", variant.shared_bytes, 0, kMaxShared);
  if (const auto problem = jit::text_problem(variant.traits, variant.arguments)) {
    throw Error(ErrorCode::invalid_argument, fmt::format("kernel {}: specialize gave {}", kernel.name, *problem));
  }
}

/// Whether an operand of a merge can be bound to what the kernel before it was given.
bool is_alike(const Spec& a, std::size_t of_a, const Spec& b, std::size_t of_b) {
  const Operand &first = a.kind()->description().operands[of_a], &second = b.kind()->description().operands[of_b];
  if (first.form != second.form || first.shape.size() != second.shape.size() ||
      a.kind()->element_bytes(of_a, a) != b.kind()->element_bytes(of_b, b)) {
    return false;
  }
  for (std::size_t i = 0; i < first.shape.size(); ++i) {
    constexpr KernelKind::Sizes kAny{.batch = 1, .num_pages = 1};
    const auto &one = a.kind()->resolved(of_a).extents[i], &other = b.kind()->resolved(of_b).extents[i];
    const bool is_counted = one.of == KernelKind::Extent::Of::count || other.of == KernelKind::Extent::Of::count;
    if (is_counted || one.value(a, kAny) != other.value(b, kAny)) return false;
  }
  return true;
}

void require_mergeable(const Spec& spec, const Spec& merge) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("kernel {}: its merge, {}, {}", spec.kernel(), to_string(merge), what));
  };
  validate(merge);
  const KernelDescription& kernel = description(*merge.kind());
  if (!kernel.internal || kernel.merge != nullptr) refuse("is not a kernel that joins parts");
  for (std::size_t i = 0; i < kernel.operands.size(); ++i) {
    const auto own = spec.kind()->operand(kernel.operands[i].name);
    if (own && is_alike(spec, *own, merge, i)) continue;
    if (!own && kernel.operands[i].optional) continue;
    refuse(fmt::format(
        "needs {}, which {}", kernel.operands[i].name,
        own ? fmt::format("{} has in another shape", spec.kernel()) : fmt::format("{} has not", spec.kernel())));
  }
}

}  // namespace

void require_arch(const Arch& arch) {
  // What parse_arch() would not have made.
  if (arch.suffix != 0 && arch.suffix != 'a' && arch.suffix != 'f') {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("arch.suffix is the character {}; allowed: 0, 'a', 'f'", static_cast<int>(arch.suffix)));
  }
  if (arch.sm < 10 || arch.sm > 999) {
    throw Error(ErrorCode::invalid_argument, fmt::format("arch.sm is {}; allowed: 10..999", arch.sm));
  }
  if (arch.sm < 80) {
    throw Error(ErrorCode::unsupported,
                fmt::format("arch {} is not supported: the kernels need cp.async and mma.sync; allowed: sm_80 and up",
                            to_string(arch)));
  }
}

KernelVariant variant_of(const Spec& spec, const Arch& arch) {
  validate(spec);
  const KernelDescription& kernel = description(*spec.kind());
  require_arch(arch);
  if (arch.sm < kernel.oldest_sm) {
    throw Error(ErrorCode::unsupported, fmt::format("arch {} is not supported by {}; allowed: sm_{} and up",
                                                    to_string(arch), kernel.name, kernel.oldest_sm));
  }
  KernelVariant variant = kernel.specialize(spec, arch);
  require_possible(kernel, variant);
  return variant;
}

Specialized specialize(const Spec& spec, const Arch& arch) {
  KernelVariant variant = variant_of(spec, arch);
  std::string json = facts(spec, variant);
  return {.program = {.kernel = std::string(spec.kernel()),
                      .traits = std::move(variant.traits),
                      .arguments = std::move(variant.arguments),
                      .spec_json = std::move(json)},
          .block_threads = variant.block_threads,
          .shared_bytes = variant.shared_bytes};
}

std::vector<jit::SourceFile> added_files() {
  std::vector<jit::SourceFile> added;
  for (const KernelSource& each : kernel::added_sources()) {
    added.push_back({.name = std::string(each.name), .text = std::string(each.text)});
  }
  return added;
}

jit::KernelSources load_sources(const std::string& kernels_dir, const std::vector<SourceEdit>& edits,
                                util::Trust trust) {
  return jit::KernelSources::load(kernels_dir, edits, trust, jit::host_headers(), added_files());
}

std::optional<Spec> merge_of(const Spec& spec) {
  validate(spec);
  const auto merge = description(*spec.kind()).merge;
  if (merge == nullptr) return std::nullopt;
  Spec merged = merge(spec);
  require_mergeable(spec, merged);
  return merged;
}

}  // namespace librt::api
