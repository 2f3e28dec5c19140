#include "src/api/spec_text.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/util/text.hpp"

namespace librt::api {

using util::in_quotes;
using util::shown;

std::span<const std::string_view> members_of(std::string_view kernel) {
  if (kernel == kGqaKernel) return kGqaMembers;
  if (kernel == kMlaKernel) return kMlaMembers;
  constexpr std::array kKernels = {kGqaKernel, kMlaKernel};
  throw Error(ErrorCode::invalid_argument,
              fmt::format("kernel {} is not known{}", in_quotes(kernel), util::allowed_names(kernel, kKernels)));
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  constexpr std::string_view kSpace = " \t\r\n";
  for (std::size_t at = text.find_first_not_of(kSpace); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(kSpace, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(kSpace, end);
  }
  return words;
}

Assignment split_assignment(std::string_view kernel, std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: {} is not of the form key=value", kernel, in_quotes(word)));
  }
  const std::string_view name = word.substr(0, equals);
  if (std::ranges::find(members_of(kernel), name) == members_of(kernel).end()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{}: {} is not a member of the spec{}", kernel, shown(word),
                                                         util::allowed_names(name, members_of(kernel))));
  }
  return {.name = std::string(name), .value = std::string(word.substr(equals + 1))};
}

Spec normalized(Spec spec) {
  std::visit([](auto& one) { one.kv_dtype = one.kv_dtype.value_or(one.dtype); }, spec);
  return spec;
}

}  // namespace librt::api
