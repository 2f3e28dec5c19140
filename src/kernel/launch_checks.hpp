// What a launch refuses before anything is enqueued. The checks take no lock and allocate only when they throw.
#pragma once

#include <librt/binding.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace librt::kernel {

/// Throws Error(invalid_argument) naming the argument, its value and what is allowed.
void require_pointer(std::string_view name, const void* pointer, std::uintptr_t alignment);
void require_aligned(std::string_view name, const void* pointer, std::uintptr_t alignment);

void check_workspace(std::string_view name, const Workspace& workspace, std::size_t bytes);

constexpr std::uintptr_t kTensorAlignment = 16;  // cp.async moves 16 bytes

struct Strides {
  std::int64_t page, token, head;
};

/// A paged tensor of a launch and the shape that its kernel reads.
struct PagedArgument {
  std::string_view name;
  const PagedTensor& tensor;
  int page_size;
  int heads;  // 1: head_stride is ignored
  int head_dim;
  std::int64_t stride_multiple = 8;  // elements in 16 bytes
};

/// The strides with their defaults. Refuses those by which two rows would share elements, or lie past any address.
/// @param is_read some request has a page, so that the tensor must be there
Strides check_pages(const PagedArgument& argument, bool is_read);
/// The strides of rows with their defaults: [any, heads, head_dim].
RowTensor check_rows(std::string_view name, const RowTensor& tensor, int heads, int head_dim,
                     std::int64_t stride_multiple);
/// Both tensors of a launch are indexed by the same page ids.
void require_equal_pages(std::string_view first_name, const PagedTensor& first, std::string_view second_name,
                         const PagedTensor& second);

}  // namespace librt::kernel
