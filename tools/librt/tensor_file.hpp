// Tensor files of `librt run` and `librt check`: a batch in one safetensors file, checked in full before anything is
// computed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "src/util/safetensors.hpp"
#include "tools/librt/decode.hpp"
#include "tools/librt/operand_launch.hpp"

namespace librt::tool {

/// A batch and the file that its spans point into.
struct TensorFile {
  util::Safetensors file;
  DecodeProblem problem;                ///< of a kernel that takes a plan
  std::optional<OperandLaunch> launch;  ///< of one that takes none
  std::vector<std::string> ignored;     ///< names that are not known, in words
};

/// Reads and checks a file. Throws Error: io; invalid_argument naming the tensor, the element, its value and what is
/// allowed; unsupported for what is well formed but not built (several query tokens a request, FP8, and whatever else
/// would change the result: unread_names.hpp).
TensorFile read_tensor_file(const std::string& path);

/// The bytes of a file that read_tensor_file() reads; the pages are dense, and NHD.
std::vector<std::byte> batch_file(const DecodeProblem& problem);

/// The bytes of the file that holds a result.
std::vector<std::byte> result_file(const DecodeProblem& problem, const DecodeResult& result);

}  // namespace librt::tool
