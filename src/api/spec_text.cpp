#include "src/api/spec_text.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>

namespace librt::api {
namespace {

constexpr std::size_t kMostShown = 64;

}  // namespace

std::string shown(std::string_view text) {
  std::string result(text.substr(0, kMostShown));
  std::ranges::replace_if(
      result, [](char each) { return each < ' ' || each >= '\x7f'; }, '?');
  return text.size() <= kMostShown ? result : result + "...";
}

std::span<const std::string_view> members_of(std::string_view kernel) {
  if (kernel == kGqaKernel) return kGqaMembers;
  if (kernel == kMlaKernel) return kMlaMembers;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("kernel \"{}\" is not known; allowed: {}, {}", shown(kernel), kGqaKernel, kMlaKernel));
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
                fmt::format("{}: \"{}\" is not of the form key=value", kernel, shown(word)));
  }
  return {.name = std::string(word.substr(0, equals)), .value = std::string(word.substr(equals + 1))};
}

Spec normalized(Spec spec) {
  std::visit([](auto& one) { one.kv_dtype = one.kv_dtype.value_or(one.dtype); }, spec);
  return spec;
}

}  // namespace librt::api
