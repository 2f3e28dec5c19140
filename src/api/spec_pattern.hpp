// One entry of a manifest: a spec whose members may have several values.
#pragma once

#include <librt/kernel_kind.hpp>
#include <librt/spec.hpp>

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace librt::api {

/// Every member throws Error(invalid_argument) that names the member, its value and what is allowed.
class SpecPattern {
 public:
  /// @param max_values of one member.
  SpecPattern(std::string_view kernel, std::size_t max_values);

  /// "KERNEL member=VALUES ...".
  static SpecPattern parse_line(std::string_view line, std::size_t max_values);

  /// `values` as in include/librt/manifest.hpp: "16", "bf16,f16". A second call for the same member adds to the first
  /// one's.
  void add(std::string_view member, std::string_view values);

  /// How many specs the entry stands for; more than `limit` is an error that says that the manifest has `before`
  /// already.
  std::size_t count(std::size_t before, std::size_t limit) const;

  /// Each combination, validated; the last of the kernel's fields changes fastest.
  void for_each(const std::function<void(Spec)>& visit) const;

 private:
  struct Member {
    std::string_view name;
    std::vector<std::string> values{};
  };

  Member& member(std::string_view name, std::string_view values);
  void add_item(Member& to, std::string_view item, std::string_view all);

  SpecPattern(const KernelKind& kind, std::size_t max_values);

  const KernelKind& kind_;
  std::string_view kernel_;
  std::size_t max_values_;
  std::vector<Member> members_;  // in the order of the fields; those without values were not named
};

}  // namespace librt::api
