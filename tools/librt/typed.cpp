#include "tools/librt/typed.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "src/api/spec_text.hpp"
#include "src/util/text.hpp"

namespace librt::tool {
namespace {

/// For the first word that is no kernel's or member's name: "; num_head: did you mean num_heads?", if one is near.
std::string meant(const std::vector<std::string>& words) {
  static constexpr std::array<std::string_view, 2> kKernels = {api::kGqaKernel, api::kMlaKernel};
  std::span<const std::string_view> known = kKernels;
  for (const std::string& word : words) {
    const std::string name = word.substr(0, word.find('='));
    if (std::ranges::find(known, name) == known.end()) {
      const std::string_view nearest = util::nearest(name, known);
      return nearest.empty() ? std::string() : fmt::format("; {}: did you mean {}?", util::shown(name), nearest);
    }
    if (&word == &words.front()) known = api::members_of(name);
  }
  return {};
}

}  // namespace

Spec typed_spec(const std::vector<std::string>& words) {
  try {
    return parse_spec(fmt::format("{}", fmt::join(words, " ")));
  } catch (const Error& error) {
    throw UsageError(error.what() + meant(words));
  }
}

Arch typed_arch(const std::string& text) {
  try {
    return parse_arch(text);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::vector<Arch> typed_archs(const std::vector<std::string>& texts) {
  std::vector<Arch> archs;
  for (const std::string& text : texts) archs.push_back(typed_arch(text));
  return archs;
}

}  // namespace librt::tool
