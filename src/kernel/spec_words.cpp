#include "src/kernel/spec_words.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>

#include "src/kernel/kind.hpp"
#include "src/util/text.hpp"

namespace librt::kernel {

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

void refuse_name(const KernelKind& kind, std::string_view name, std::string_view word) {
  std::vector<std::string_view> names;
  for (const Field& field : kind.description().fields) names.push_back(field.name);
  throw Error(ErrorCode::invalid_argument, fmt::format("{}: {} is not a member of the spec{}", kind.description().name,
                                                       util::shown(word), util::allowed_names(name, names)));
}

Assignment split_assignment(const KernelKind& kind, std::string_view word) {
  const std::size_t equals = word.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: {} is not of the form key=value", kind.description().name, util::in_quotes(word)));
  }
  const std::string_view name = word.substr(0, equals);
  const auto field = kind.field(name);
  if (!field) refuse_name(kind, name, word);
  return {.field = *field, .value = std::string(word.substr(equals + 1))};
}

}  // namespace librt::kernel
