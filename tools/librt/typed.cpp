#include "tools/librt/typed.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/api/specialize.hpp"

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
    const Arch arch = parse_arch(text);
    api::require_arch(arch);
    return arch;
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::vector<Arch> typed_archs(const std::vector<std::string>& texts) {
  std::vector<Arch> archs;
  for (const std::string& text : texts) archs.push_back(typed_arch(text));
  return archs;
}

std::vector<Arch> wanted_archs(const std::vector<std::string>& texts, const Manifest& manifest, std::string_view name) {
  if (!texts.empty()) return typed_archs(texts);
  if (manifest.archs.empty()) {
    throw UsageError(fmt::format("the manifest {} names no archs: give --arch, e.g. --arch sm_90a", name));
  }
  for (const Arch& arch : manifest.archs) {
    try {
      api::require_arch(arch);
    } catch (const Error& error) {
      throw Error(ErrorCode::invalid_argument, fmt::format("{}: archs: {}", name, error.what()));
    }
  }
  return manifest.archs;
}

}  // namespace librt::tool
