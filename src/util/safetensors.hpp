// The safetensors file format: u64 header length, JSON header, tensor bytes. https://huggingface.co/docs/safetensors
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/util/safetensors_header.hpp"

namespace librt::util {

struct Tensor {
  std::string dtype;                 // as in the file: "BF16", "F16", "F32", "I32", ...
  std::vector<std::int64_t> shape;   // never negative
  std::span<const std::byte> bytes;  // dense, row major; product(shape) * size of dtype
};

/// A parsed file. Owns the bytes that its tensors point into; movable.
class Safetensors {
 public:
  /// Checks everything: header length, JSON depth and types, unknown dtype, shape overflow, offsets that are negative,
  /// reversed, overlapping, with holes, or past the end, duplicate names. Throws Error(invalid_argument) that names the
  /// tensor and what is wrong with it, or what the file is if it is of another format.
  static Safetensors parse(std::vector<std::byte> file);
  /// As parse(), reading a file only as far as it is sound: its length, its header, its data. Every error names the
  /// file; one that cannot be read, or not be held in memory, throws Error(io).
  static Safetensors load(const std::string& path);

  Safetensors(Safetensors&&) noexcept = default;
  Safetensors& operator=(Safetensors&&) noexcept = default;
  Safetensors(const Safetensors&) = delete;  // tensors_ points into file_
  Safetensors& operator=(const Safetensors&) = delete;

  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  const std::map<std::string, Tensor>& tensors() const noexcept { return tensors_; }
  /// Null if there is none of that name.
  const Tensor* find(std::string_view name) const noexcept;

 private:
  Safetensors(std::vector<std::byte> file, std::size_t data_begins, SafetensorsHeader header);
  std::vector<std::byte> file_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Tensor> tensors_;
};

/// Bytes in one element; 0 for a dtype that the format does not have, or whose elements are not whole bytes (F4, F6).
std::size_t safetensors_element_bytes(std::string_view dtype) noexcept;

/// The bytes of a file with these tensors, their data aligned to 64 bytes within the file as far as the format allows.
/// Throws Error(invalid_argument) if a tensor's bytes do not match its shape and dtype.
std::vector<std::byte> write_safetensors(const std::map<std::string, Tensor>& tensors,
                                         const std::map<std::string, std::string>& metadata);

}  // namespace librt::util
