// Launch parameters, tiles, shared memory and split costs of mla_decode: host and device, builtin types only.
// Pointers are device pointers. Strides count elements of the tensor, not bytes.
#pragma once

#include "shared_memory.h"
#include "work.h"

namespace librt {

struct MlaDecodeParams {
  const void* q_nope;  // [batch, num_heads, head_dim_ckv], dense
  const void* q_pe;    // [batch, num_heads, head_dim_kpe], dense
  const void* ckv_pages;
  const void* kpe_pages;
  void* out;   // as q_nope
  float* lse;  // [batch, num_heads], natural log; may be null
  const int* kv_indptr;
  const int* kv_indices;
  const int* kv_last_page_len;
  PlanTables plan;
  long long ckv_page_stride, ckv_token_stride;
  long long kpe_page_stride, kpe_token_stride;
  int num_heads;
  float sm_scale;
};

}  // namespace librt

// 256 threads; Q, each stage's tile (ckv and kpe in one row), row sources, scores, row factors.
namespace librt::tiles {

constexpr int mla_threads() {
  return 256;
}

/// Query heads that one block takes.
constexpr int mla_rows(int num_heads) {
  return num_heads <= 16 ? 16 : num_heads <= 32 ? 32 : 64;
}

/// With few rows and tokens there are more warps than score tiles of 16 x 8; they then split the sum over the head
/// dimension, and each part has its own scores.
constexpr int mla_score_parts(int rows, int tile_tokens) {
  const int warps_per_row_tile = mla_threads() / 32 / (rows / 16);
  const int token_tiles = tile_tokens / 8;
  return warps_per_row_tile > token_tiles ? warps_per_row_tile / token_tiles : 1;
}

/// A row of fp32 scores; its weights, 16 bits each, later take the place of the scores.
constexpr int mla_score_pitch_bytes(int tile_tokens) {
  return 4 * tile_tokens + 16;
}

constexpr int mla_shared_bytes(int head_dim_ckv, int head_dim_kpe, int rows, Tile tile) {
  return (rows + tile.stages * tile.tile_tokens) * row_pitch_bytes(head_dim_ckv + head_dim_kpe) +
         tile.stages * tile.tile_tokens * kRowSourceBytes +
         mla_score_parts(rows, tile.tile_tokens) * rows * mla_score_pitch_bytes(tile.tile_tokens) + rows * 4;
}

constexpr Tile mla_tile(int sm, int rows) {
  switch (shared_limit_bytes(sm)) {
    case 227 * 1024:
      return rows == 16 ? Tile{32, 2} : rows == 32 ? Tile{64, 2} : Tile{32, 3};
    case 163 * 1024:
      return rows == 64 ? Tile{32, 2} : Tile{32, 3};
    default:
      return rows == 16 ? Tile{32, 2} : rows == 32 ? Tile{16, 2} : Tile{16, 1};
  }
}

}  // namespace librt::tiles

namespace librt::plan {

constexpr SplitCosts mla_costs() {
  return {320, 64};
}

}  // namespace librt::plan
