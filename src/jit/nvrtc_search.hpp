// Where libnvrtc is looked for.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace librt::jit {

struct SearchPlace {
  std::filesystem::path directory{};  // absolute
  std::string origin{};  // what names it, for people: "CUDA_HOME", "nvcc on PATH", "the loader's configuration"
};

/// Each directory once, in the order of search: the toolkits that CUDA_HOME and CUDA_PATH name; the active virtual
/// environment (VIRTUAL_ENV, CONDA_PREFIX), with the wheels of NVIDIA in it; the toolkit of nvcc on PATH;
/// LD_LIBRARY_PATH; the run path of the file that librt is in, which is how a build folder finds the NVRTC that it was
/// configured with; the loader's configuration and its usual directories; the usual prefix of CUDA.
std::vector<SearchPlace> nvrtc_search_places();

}  // namespace librt::jit
