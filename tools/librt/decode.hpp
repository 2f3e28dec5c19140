// A decode step on host data: what `run` reads from a file and what `demo` makes up.
#pragma once

#include <librt/librt.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/reference/batch.hpp"

namespace librt::tool {

/// In elements.
struct PageStrides {
  std::int64_t page = 0, token = 0, head = 0;
};

/// What an operand of a kernel is to a batch.
enum class Use { query, pages, kv_indptr, kv_indices, kv_last_page_len, out, lse, workspace, scale };
/// Throws Error(unsupported) for an operand that batches have nothing for.
Use use_of(const KernelDescription& kernel, const Operand& operand);

/// One batch. Query and page tensors are in the order of the kernel's operands. The spans may be unaligned; queries are
/// dense.
struct DecodeProblem {
  Spec spec{};
  float sm_scale = 0;
  int batch = 0;
  std::int64_t num_pages = 0;
  std::vector<PageStrides> strides{};  ///< of the page tensors
  std::vector<std::span<const std::byte>> queries{};
  std::vector<std::span<const std::byte>> pages{};
  std::vector<std::int32_t> kv_indptr{};
  std::vector<std::int32_t> kv_indices{};
  std::vector<std::int32_t> kv_last_page_len{};
};

/// The batch as one, which must not go before it.
DecodeProblem problem_of(const reference::Batch& batch);

/// A query or page tensor.
struct PartShape {
  std::string_view name{};
  std::string_view field{};  ///< of the spec: its last extent
  int dim = 0;               ///< elements of a row
};

/// The sizes of a spec, without its kernel.
struct DecodeShape {
  DType dtype = DType::bf16;
  int heads = 0;     ///< of the output
  int kv_heads = 0;  ///< 1 where the pages have no heads
  std::vector<PartShape> queries{};
  std::vector<PartShape> pages{};
  int out_dim = 0;
  int page_size = 0;
  bool has_lse = false;
};

DecodeShape shape_of(const Spec& spec);

/// [page, token, head, dim] and [page, head, token, dim] of page tensor `part`.
PageStrides nhd_strides(const DecodeShape& shape, std::size_t part);
PageStrides hnd_strides(const DecodeShape& shape, std::size_t part);

/// Element at which the row of a slot starts.
std::int64_t row_of(const PageStrides& strides, std::int64_t page, std::int64_t slot, std::int64_t head);

struct DecodeResult {
  std::vector<std::uint16_t> out;  ///< [batch, heads, out_dim]
  std::vector<float> lse;          ///< [batch, heads]; empty where the kernel has none
};

/// Device memory of one decode; an empty tensor still has a buffer, so that its pointer is a valid one.
struct DecodeBuffers {
  std::vector<Buffer> queries{};
  std::vector<Buffer> pages{};
  Buffer kv_indptr{};
  Buffer kv_indices{};
  Buffer kv_last_page_len{};
  Buffer out{};
  Buffer lse{};
  Buffer workspace{};
};

void launch(const Kernel& kernel, const Plan& plan, const DecodeProblem& problem, const DecodeBuffers& buffers);

/// Copies the problem to the Runtime's device, launches and copies back. The output starts as NaN, so that a row that
/// nobody wrote shows.
DecodeResult decode(Runtime& runtime, const Kernel& kernel, const DecodeProblem& problem, int split_pages);

}  // namespace librt::tool
