// The header of a safetensors file: JSON that names the tensors, their types, shapes and places.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace librt::util {

struct TensorHeader {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> offsets;  ///< of the first byte and of the one after the last, in the data
};

/// What is accepted is what the reference reader (huggingface/safetensors) accepts, but for names that are given twice,
/// of which it keeps one in silence. Every function throws Error(invalid_argument).
struct SafetensorsHeader {
  static constexpr std::size_t kLengthBytes = 8;  ///< before the JSON, its length
  static constexpr std::string_view kMetadataName = "__metadata__";

  std::map<std::string, TensorHeader> tensors;
  std::map<std::string, std::string> metadata;

  /// The length of the JSON, from the first bytes of a file: all of it, or 64 or more. Names what the file is where it
  /// is none of this format.
  static std::size_t length(std::span<const std::byte> beginning, std::uint64_t file_bytes);
  /// Reads the JSON and checks that its tensors fill `data_bytes` without overlaps and holes.
  static SafetensorsHeader parse(std::string_view text, std::uint64_t data_bytes);
};

/// 0 for a type that the format does not have.
unsigned element_bits(std::string_view dtype) noexcept;

/// Bytes of a dense tensor; none if the count does not fit 63 bits. Zero-sized dimensions do not excuse huge others,
/// since users compute strides from the trailing dimensions alone.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, unsigned bits);

[[noreturn]] void fail_tensor(std::string_view name, const std::string& what);

}  // namespace librt::util
