// The arguments of a launch, by name.
#pragma once

#include <librt/buffer.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace librt {

/// One paged tensor of the KV cache, in device memory. Element (page, token, head, dim) lies at
/// data + page * page_stride + token * token_stride + head * head_stride + dim, counted in elements. A stride of 0
/// means the dense NHD default: [num_pages, page_size, num_kv_heads, head_dim]. Strides must be multiples of 16 bytes
/// and data aligned to 16 bytes. For MLA (one head) head_stride is ignored. HND: page_stride = heads * page_size * dim,
/// head_stride = page_size * dim, token_stride = dim. K and V may lie in one allocation, side by side or interleaved;
/// strides by which two rows of one tensor would share elements are refused.
struct PagedTensor {
  const void* data = nullptr;  ///< written all the same by a kernel that updates pages
  /// Page ids of a request must be below it. The same for both tensors of a launch. The virtual device checks the ids
  /// that the requests own at every launch; a GPU does not.
  std::int64_t num_pages = 0;
  std::int64_t page_stride = 0;
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;
};

/// Rows of a tensor [rows, heads, dim] in device memory, with a stride from row to row and from head to head, in
/// elements; 0 means dense. Strides must be multiples of 16 bytes and data aligned to 16 bytes.
struct RowTensor {
  const void* data = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t head_stride = 0;
};

/// How many there are of something: an extent that the host gives.
struct Count {
  std::int64_t value = 0;
};

/// Device memory that a launch may use as it likes, aligned to 256 bytes.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;

  constexpr Workspace() noexcept = default;
  constexpr Workspace(void* pointer, std::size_t size) noexcept : data(pointer), bytes(size) {}
  Workspace(const Buffer& buffer) noexcept  // NOLINT(google-explicit-constructor): the whole of it
      : data(buffer.data()), bytes(buffer.size()) {}
};

/// The argument for the operand of that name. `name` must live until the launch returns.
struct Binding {
  enum class Kind { pointer, rows, pages, number, count, workspace };

  std::string_view name{};
  Kind kind = Kind::pointer;
  const void* data = nullptr;  ///< of a pointer
  RowTensor rows{};
  PagedTensor pages{};
  float number = 0;
  Count count{};
  Workspace workspace{};

  constexpr Binding() noexcept = default;
  constexpr Binding(std::string_view operand, const void* pointer) noexcept : name(operand), data(pointer) {}
  constexpr Binding(std::string_view operand, const PagedTensor& tensor) noexcept
      : name(operand), kind(Kind::pages), pages(tensor) {}
  constexpr Binding(std::string_view operand, const RowTensor& tensor) noexcept
      : name(operand), kind(Kind::rows), rows(tensor) {}
  constexpr Binding(std::string_view operand, Count value) noexcept : name(operand), kind(Kind::count), count(value) {}
  constexpr Binding(std::string_view operand, std::nullptr_t) noexcept : name(operand) {}
  constexpr Binding(std::string_view operand, float value) noexcept
      : name(operand), kind(Kind::number), number(value) {}
  constexpr Binding(std::string_view operand, double value) noexcept : Binding(operand, static_cast<float>(value)) {}
  Binding(std::string_view operand, std::integral auto value) = delete;  // an address, or a number? say which
  constexpr Binding(std::string_view operand, const Workspace& memory) noexcept
      : name(operand), kind(Kind::workspace), workspace(memory) {}
};

}  // namespace librt
