#include "tools/librt/builtin_manifests.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "src/util/text.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {

Manifest kernel_matrix() {
  Manifest matrix;
  for (const BuiltInManifest& each : built_in_manifests()) {
    if (!is_kernel(each)) continue;
    const Manifest one = parse_manifest(each.text, each.path);
    matrix.specs.insert(matrix.specs.end(), one.specs.begin(), one.specs.end());
    for (const Arch& arch : one.archs) {
      if (std::ranges::find(matrix.archs, arch) == matrix.archs.end()) matrix.archs.push_back(arch);
    }
  }
  return matrix;
}

Manifest find_manifest(const std::string& name_or_path) {
  if (name_or_path == kMatrix) return kernel_matrix();
  const auto& all = built_in_manifests();
  const auto found = std::ranges::find(all, name_or_path, &BuiltInManifest::name);
  if (found != all.end()) return parse_manifest(found->text, found->path);
  std::error_code ignored;
  if (!std::filesystem::exists(name_or_path, ignored)) {
    std::vector<std::string_view> names{kMatrix};
    for (const BuiltInManifest& each : all) names.push_back(each.name);
    throw UsageError(
        fmt::format("{} is neither a file nor the name of a built-in manifest; `librt cache prewarm --list` "
                    "shows these{}",
                    util::shown(name_or_path), util::did_you_mean(name_or_path, names)));
  }
  return read_manifest(name_or_path);
}

}  // namespace librt::tool
