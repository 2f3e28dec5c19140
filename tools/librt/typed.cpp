#include "tools/librt/typed.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace librt::tool {

Spec typed_spec(const std::vector<std::string>& words) {
  try {
    return parse_spec(fmt::format("{}", fmt::join(words, " ")));
  } catch (const Error& error) {
    throw UsageError(error.what());
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
