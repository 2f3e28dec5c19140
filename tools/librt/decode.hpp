// A decode step on host data: what `run` reads from a file and what `demo` makes up.
#pragma once

#include <librt/librt.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace librt::tool {

/// One batch. GQA has one query tensor (q) and the pages k, v; MLA the queries q_nope, q_pe and the pages ckv, kpe.
/// The spans are dense and may be unaligned.
struct DecodeProblem {
  Spec spec{};
  float sm_scale = 0;
  int batch = 0;
  std::int64_t num_pages = 0;
  bool hnd = false;  ///< GQA pages lie [page, head, token, dim] instead of [page, token, head, dim]
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

struct DecodeResult {
  std::vector<std::uint16_t> out;  ///< [batch, heads, out_dim]
  std::vector<float> lse;          ///< [batch, heads]
};

/// Copies the problem to the Runtime's device, launches and copies back. The output starts as NaN, so that a row that
/// nobody wrote shows.
DecodeResult decode(Runtime& runtime, const Kernel& kernel, const DecodeProblem& problem, int split_pages);

}  // namespace librt::tool
