#include "src/kernel/launch_checks.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/util/refuse.hpp"

namespace librt::kernel {
namespace {

constexpr std::uintptr_t kWorkspaceAlignment = 256;

using util::refuse;

std::uintptr_t address_of(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

std::int64_t stride_or(std::string_view tensor, std::string_view name, std::int64_t value, std::int64_t dense,
                       std::int64_t multiple) {
  if (value == 0) return dense;
  if (value < 0 || value % multiple != 0) {
    refuse(fmt::format("{}.{} is {}; allowed: 0 (dense) or a multiple of {} elements", tensor, name, value, multiple));
  }
  return value;
}

struct Dimension {
  std::string_view name;
  std::int64_t extent;
  std::int64_t stride;
};

/// Each dimension must step over all that the ones of smaller strides span. That holds for every order in which the
/// dimensions may lie, with gaps or without.
void require_rows_apart(const PagedArgument& argument, const Strides& strides) {
  std::array dimensions = {Dimension{"head_stride", argument.heads, strides.head},
                           Dimension{"token_stride", argument.page_size, strides.token},
                           Dimension{"page_stride", argument.tensor.num_pages, strides.page}};
  std::ranges::sort(dimensions, {}, &Dimension::stride);
  std::int64_t span = argument.head_dim;
  for (const Dimension& each : dimensions) {
    if (each.extent <= 1) continue;
    if (each.stride < span) {
      refuse(fmt::format(
          "{}.{} is {}, so that rows overlap; allowed with {} pages of {} tokens, {} heads and the other "
          "strides: {} and up",
          argument.name, each.name, each.stride, argument.tensor.num_pages, argument.page_size, argument.heads, span));
    }
    std::int64_t steps = 0;
    if (__builtin_mul_overflow(each.stride, each.extent - 1, &steps) || __builtin_add_overflow(span, steps, &span) ||
        span > INT64_MAX / 2) {
      refuse(fmt::format("{}.{} is {}: {} of them pass every address", argument.name, each.name, each.stride,
                         each.extent));
    }
  }
}

}  // namespace

void require_pointer(std::string_view name, const void* pointer, std::uintptr_t alignment) {
  if (pointer == nullptr) refuse(fmt::format("{} is null", name));
  if (address_of(pointer) % alignment != 0) {
    refuse(fmt::format("{} is {}, which is not aligned to {} bytes", name, pointer, alignment));
  }
}

void require_aligned(std::string_view name, const void* pointer, std::uintptr_t alignment) {
  if (pointer != nullptr) require_pointer(name, pointer, alignment);
}

Strides check_pages(const PagedArgument& argument, bool is_read) {
  const PagedTensor& tensor = argument.tensor;
  if (tensor.num_pages < 0) {
    refuse(fmt::format("{}.num_pages is {}; allowed: 0 or above", argument.name, tensor.num_pages));
  }
  const std::int64_t dense_token = std::int64_t{argument.heads} * argument.head_dim;
  const Strides strides = {
      stride_or(argument.name, "page_stride", tensor.page_stride, argument.page_size * dense_token,
                argument.stride_multiple),
      stride_or(argument.name, "token_stride", tensor.token_stride, dense_token, argument.stride_multiple),
      argument.heads == 1
          ? argument.head_dim
          : stride_or(argument.name, "head_stride", tensor.head_stride, argument.head_dim, argument.stride_multiple)};
  if (is_read) {
    if (tensor.data == nullptr || address_of(tensor.data) % kTensorAlignment != 0) {
      require_pointer(fmt::format("{}.data", argument.name), tensor.data, kTensorAlignment);
    }
    if (tensor.num_pages == 0) {
      refuse(fmt::format("{}.num_pages is 0, but the plan has requests with pages", argument.name));
    }
    require_rows_apart(argument, strides);
  }
  return strides;
}

RowTensor check_rows(std::string_view name, const RowTensor& tensor, int heads, int head_dim,
                     std::int64_t stride_multiple) {
  require_pointer(name, tensor.data, kTensorAlignment);
  const std::int64_t dense = std::int64_t{heads} * head_dim;
  return {tensor.data, stride_or(name, "row_stride", tensor.row_stride, dense, stride_multiple),
          heads == 1 ? head_dim : stride_or(name, "head_stride", tensor.head_stride, head_dim, stride_multiple)};
}

void check_workspace(std::string_view name, const Workspace& workspace, std::size_t bytes) {
  require_pointer(name, workspace.data, kWorkspaceAlignment);
  if (workspace.bytes >= bytes) return;
  refuse(fmt::format("{} has {} bytes; allowed: {} and more, the workspace_bytes() of the plan", name, workspace.bytes,
                     bytes));
}

void require_equal_pages(std::string_view first_name, const PagedTensor& first, std::string_view second_name,
                         const PagedTensor& second) {
  if (first.num_pages == second.num_pages) return;
  refuse(fmt::format("{}.num_pages is {} and {}.num_pages is {}; they must be equal, since the page ids are the same",
                     first_name, first.num_pages, second_name, second.num_pages));
}

}  // namespace librt::kernel
