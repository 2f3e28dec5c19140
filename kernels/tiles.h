// Tile policy: how much of the KV cache a block holds in shared memory, by architecture, and what that costs.
//
// One source for g++, which sizes the launch, and for NVRTC, which lays the memory out; builtin types only. NVRTC does
// not check shared memory, so the tests hold every shipped specialization against shared_limit_bytes.
#pragma once

namespace librt::tiles {

/// Dynamic shared memory that one block may have, in bytes; `sm` is 80 for sm_80, 103 for sm_103a. An architecture that
/// is not listed gets the smallest known limit.
constexpr int shared_limit_bytes(int sm) {
  switch (sm) {
    case 80:
    case 87:
      return 163 * 1024;
    case 90:
    case 100:
    case 103:
    case 110:
      return 227 * 1024;
    default:
      return 99 * 1024;
  }
}

/// Blocks that share a multiprocessor as far as shared memory goes; the system takes 1 KB of it per block.
constexpr int blocks_per_multiprocessor(int sm, int shared_bytes) {
  return (shared_limit_bytes(sm) + 1024) / (shared_bytes + 1024);
}

/// Bytes from one row to the next of 16-bit elements. The extra 16 make the eight rows that ldmatrix reads at once fall
/// into different banks, whatever the row length.
constexpr int row_pitch_bytes(int elements) {
  return 2 * elements + 16;
}

enum : int {
  kRowSourceBytes = 16,  // where one token's row lies in its two tensors: two 64-bit offsets
  kQueryRows = 16,       // rows of a matrix instruction
};

/// tile_tokens: positions in a tile; stages: tiles in shared memory at a time.
struct Tile {
  int tile_tokens;
  int stages;
};

// --- gqa_decode: 128 threads; Q, then K and V of each stage, then the row sources of each stage ---

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

// --- mla_decode: 256 threads; Q, each stage's tile (ckv and kpe in one row), row sources, scores, row factors ---

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
