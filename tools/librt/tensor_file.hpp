// Tensor files of `librt run` and `librt check`: a batch in one safetensors file, checked in full before anything is
// computed.
#pragma once

#include <string>

#include "src/util/safetensors.hpp"
#include "tools/librt/decode.hpp"

namespace librt::tool {

/// A batch and the file that its spans point into.
struct TensorFile {
  util::Safetensors file;
  DecodeProblem problem;
};

/// Reads and checks a file. Throws Error: io; invalid_argument naming the tensor, the element, its value and what is
/// allowed; unsupported for what is well formed but not built (several query tokens a request, FP8, windows, soft
/// caps).
TensorFile read_tensor_file(const std::string& path);

/// The parts of the metadata, one by one; each throws as read_tensor_file does.
std::string read_kernel(const util::Safetensors& file);
float read_sm_scale(const util::Safetensors& file);
bool read_hnd(const util::Safetensors& file);
void check_masks(const util::Safetensors& file);

/// The bytes of the file that holds a result.
std::vector<std::byte> result_file(const DecodeProblem& problem, const DecodeResult& result);

}  // namespace librt::tool
