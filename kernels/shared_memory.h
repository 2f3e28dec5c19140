// What a block may have of shared memory, by architecture, and how rows lie in it.
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

}  // namespace librt::tiles
