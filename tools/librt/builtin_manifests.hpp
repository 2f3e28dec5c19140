// The manifests that the tool brings along: what ships of each kernel, and the shapes of well-known models.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace librt::tool {

struct BuiltInManifest {
  std::string_view name;  // of a kernel or of a model: "llama-3-8b"
  std::string_view path;  // in the repository
  std::string_view text;  // as it was when the tool was built
};

/// The kernels' own (kernels/NAME/matrix.json) and those of models (kernels/manifests/NAME.json).
const std::vector<BuiltInManifest>& built_in_manifests();

/// What ships of a kernel.
inline bool is_kernel(const BuiltInManifest& manifest) {
  return manifest.path.ends_with("/matrix.json");
}

/// What ships: the matrices of all kernels in one. Its name is "matrix".
inline constexpr std::string_view kMatrix = "matrix";
Manifest kernel_matrix();

/// A built-in one by its name, else the file of that path; a file with the name of a built-in one is ./NAME.
Manifest find_manifest(const std::string& name_or_path);

}  // namespace librt::tool
