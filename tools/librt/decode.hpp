// A decode step on host data: what `run` reads from a file and what `demo` makes up.
#pragma once

#include <librt/librt.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace librt::tool {

/// In elements.
struct PageStrides {
  std::int64_t page = 0, token = 0, head = 0;
};

/// One batch. GQA has one query tensor (q) and the pages k, v; MLA the queries q_nope, q_pe and the pages ckv, kpe.
/// The spans may be unaligned; queries are dense.
struct DecodeProblem {
  Spec spec{};
  float sm_scale = 0;
  int batch = 0;
  std::int64_t num_pages = 0;
  std::array<PageStrides, 2> strides{};  ///< of the page tensors
  std::array<std::span<const std::byte>, 2> queries{};
  std::array<std::span<const std::byte>, 2> pages{};
  std::vector<std::int32_t> kv_indptr{};
  std::vector<std::int32_t> kv_indices{};
  std::vector<std::int32_t> kv_last_page_len{};
};

/// The sizes of a spec, without its kernel.
struct DecodeShape {
  DType dtype = DType::bf16;
  int heads = 0;                    ///< of the query
  int kv_heads = 0;                 ///< 1 for MLA
  std::array<int, 2> query_dims{};  ///< per query tensor; 0 = there is none
  std::array<int, 2> page_dims{};   ///< per page tensor
  int out_dim = 0;
  int page_size = 0;
};

DecodeShape shape_of(const Spec& spec);

/// [page, token, head, dim] and [page, head, token, dim] of page tensor `part`.
PageStrides nhd_strides(const DecodeShape& shape, std::size_t part);
PageStrides hnd_strides(const DecodeShape& shape, std::size_t part);

/// Element at which the row of a slot starts.
std::int64_t row_of(const PageStrides& strides, std::int64_t page, std::int64_t slot, std::int64_t head);

struct DecodeResult {
  std::vector<std::uint16_t> out;  ///< [batch, heads, out_dim]
  std::vector<float> lse;          ///< [batch, heads]
};

/// Device memory of one decode; an empty tensor still has a buffer, so that its pointer is a valid one.
struct DecodeBuffers {
  std::array<Buffer, 2> queries{};
  std::array<Buffer, 2> pages{};
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
