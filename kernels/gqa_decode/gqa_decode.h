// Launch parameters, tiles, shared memory and split costs of gqa_decode: host and device, builtin types only.
// Pointers are device pointers. Strides count elements of the tensor, not bytes.
#pragma once

#include "shared_memory.h"
#include "work.h"

namespace librt {

struct GqaDecodeParams {
  const void* q;  // [batch, num_qo_heads, head_dim], dense
  const void* k_pages;
  const void* v_pages;
  void* out;                    // as q
  float* lse;                   // [batch, num_qo_heads], natural log; may be null
  const int* kv_indptr;         // [batch + 1]
  const int* kv_indices;        // [>= kv_indptr[batch]]
  const int* kv_last_page_len;  // [batch]
  PlanTables plan;
  long long k_page_stride, k_token_stride, k_head_stride;
  long long v_page_stride, v_token_stride, v_head_stride;
  int num_qo_heads;
  int num_kv_heads;
  float sm_scale;
};

}  // namespace librt

// 128 threads; Q, then K and V of each stage, then the row sources of each stage.
namespace librt::tiles {

constexpr int gqa_threads() {
  return 128;
}

constexpr int gqa_shared_bytes(int head_dim, Tile tile) {
  return (kQueryRows + 2 * tile.stages * tile.tile_tokens) * row_pitch_bytes(head_dim) +
         tile.stages * tile.tile_tokens * kRowSourceBytes;
}

/// Two blocks share a multiprocessor wherever the memory allows it, so that one loads while the other starts or ends.
constexpr Tile gqa_tile(int sm, int head_dim) {
  const int limit = shared_limit_bytes(sm);
  if (head_dim > 128) return {32, head_dim > 192 && limit < 227 * 1024 ? 2 : 3};
  const bool two_stages = (head_dim == 128 && limit < 227 * 1024) || (head_dim == 96 && limit == 163 * 1024);
  return {64, two_stages ? 2 : 3};
}

}  // namespace librt::tiles

namespace librt::plan {

constexpr SplitCosts gqa_costs() {
  return {128, 128};
}

}  // namespace librt::plan
