// The files that each folder of kernels/ has under the same name.
#pragma once

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace librt::test {

/// kernels/*/NAME, sorted: paths.
inline std::vector<std::string> files_of_kernels(const std::string& name) {
  std::vector<std::string> files;
  for (const auto& folder : std::filesystem::directory_iterator(LIBRT_SOURCE_DIR "/kernels")) {
    const std::filesystem::path file = folder.path() / name;
    if (std::filesystem::exists(file)) files.push_back(file.string());
  }
  if (files.empty()) throw std::runtime_error("no folder of kernels/ has a " + name);
  std::ranges::sort(files);
  return files;
}

}  // namespace librt::test
