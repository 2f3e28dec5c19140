// The manifests that the tool brings along: kernels/matrix.json, and the shapes of well-known models.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace librt::tool {

struct BuiltInManifest {
  std::string_view name;  // "matrix", "llama-3-8b"
  std::string_view path;  // in the repository
  std::string_view text;  // as it was when the tool was built
};

/// "matrix" first, the others by name.
const std::vector<BuiltInManifest>& built_in_manifests();

/// kernels/matrix.json: what ships.
Manifest kernel_matrix();

/// A built-in one by its name, else the file of that path; a file with the name of a built-in one is ./NAME.
Manifest find_manifest(const std::string& name_or_path);

}  // namespace librt::tool
