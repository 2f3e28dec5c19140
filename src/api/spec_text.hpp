// What the readers of specs and of manifests share.
#pragma once

#include <librt/spec.hpp>

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace librt::api {

inline constexpr std::string_view kGqaKernel = "gqa_decode";
inline constexpr std::string_view kMlaKernel = "mla_decode";

/// In the order of the structs.
inline constexpr std::array<std::string_view, 6> kGqaMembers = {"dtype",        "kv_dtype", "num_qo_heads",
                                                                "num_kv_heads", "head_dim", "page_size"};
inline constexpr std::array<std::string_view, 6> kMlaMembers = {"dtype",        "kv_dtype",     "num_heads",
                                                                "head_dim_ckv", "head_dim_kpe", "page_size"};

/// The members of a kernel's spec; throws Error(invalid_argument) for a kernel that is not known, naming the nearest.
std::span<const std::string_view> members_of(std::string_view kernel);

/// What stands between blanks.
std::vector<std::string> split_words(std::string_view text);

/// Name and value of "key=value"; throws Error(invalid_argument) if it is none, or names no member of the kernel's
/// spec.
struct Assignment {
  std::string name;
  std::string value;
};
Assignment split_assignment(std::string_view kernel, std::string_view word);

/// Equal specs are equal values, then: kv_dtype is set.
Spec normalized(Spec spec);

}  // namespace librt::api
