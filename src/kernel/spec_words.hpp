// What the readers of specs and of manifests share.
#pragma once

#include <librt/spec.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace librt::kernel {

/// What stands between blanks.
std::vector<std::string> split_words(std::string_view text);

/// "key=value", the key by its place among the kernel's fields.
struct Assignment {
  std::size_t field;
  std::string value;
};
/// Throws Error(invalid_argument) if the word is none, or names no field of the kernel.
Assignment split_assignment(const KernelKind& kind, std::string_view word);

/// A valid spec, from at most one assignment for each field. Throws Error(invalid_argument) as parse_spec() does.
Spec spec_of(const KernelKind& kind, std::span<const Assignment> assignments);

/// Throws Error(invalid_argument) that `word`, which begins with `name`, names no field.
[[noreturn]] void refuse_name(const KernelKind& kind, std::string_view name, std::string_view word);

}  // namespace librt::kernel
