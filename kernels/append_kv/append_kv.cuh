// Writes the rows of new tokens into the pages of their requests.
//
// Grid (blocks that step through the new tokens), 128 threads, each of which moves 16 bytes at a time. Numbers are
// copied as bits. A token whose position or page its request does not have is left out: nothing is written for it.
#pragma once

#include "append_kv/append_kv.h"
#include "device/types.cuh"

namespace librt::device {

/// The dims are elements of 16 bits in a row of one head.
template <int k_dim, int v_dim, int page_size>
struct AppendKvTraits {
  using Params = AppendKvParams;
  enum : int {
    kKDim = k_dim,
    kVDim = v_dim,
    kPageSize = page_size,
    kThreads = tiles::append_threads(),
    kMinBlocks = 1,
    kSharedBytes = 0,
  };
  static_assert(k_dim % 8 == 0 && v_dim % 8 == 0, "rows are whole pieces of 16 bytes");
};

/// The request that a new token belongs to, or -1.
__device__ __forceinline__ int request_of(const AppendKvParams& params, int token) {
  int low = 0, high = params.batch;  // the last request that begins at the token or before it
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (params.append_indptr[middle] <= token) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return params.append_indptr[low] <= token && token < params.append_indptr[low + 1] ? low : -1;
}

/// The page that holds a position of a request, or -1: where the request, or the pool, has no such page.
template <int kPageSize>
__device__ __forceinline__ int page_of(const AppendKvParams& params, int request, int position) {
  const int first = params.kv_indptr[request];
  const int owned = params.kv_indptr[request + 1] - first;
  if (position < 0 || position / kPageSize >= owned) return -1;
  const int page = params.kv_indices[first + position / kPageSize];
  return page < params.num_pages ? page : -1;
}

template <int kDim, int kThreads>
__device__ __forceinline__ void copy_rows(const AppendKvPart& part, int token, int page, int slot, int heads) {
  constexpr int kPieces = kDim / 8;  // of 16 bytes, in a row
  const char* const from = static_cast<const char*>(part.rows) + 2 * (token * part.row_stride);
  char* const to = static_cast<char*>(part.pages) + 2 * (page * part.page_stride + slot * part.token_stride);
  for (int i = static_cast<int>(threadIdx.x); i < heads * kPieces; i += kThreads) {
    const int head = i / kPieces;
    const int piece = i % kPieces * 16;
    *reinterpret_cast<uint4*>(to + 2 * (head * part.head_stride) + piece) =
        *reinterpret_cast<const uint4*>(from + 2 * (head * part.row_head_stride) + piece);
  }
}

template <class Traits>
__device__ __forceinline__ void append_kv(const AppendKvParams& params) {
  for (long long next = blockIdx.x; next < params.total_new; next += gridDim.x) {
    const int token = static_cast<int>(next);
    const int request = request_of(params, token);
    if (request < 0) continue;
    const int position = params.append_positions[token];
    const int page = page_of<Traits::kPageSize>(params, request, position);
    if (page < 0) continue;
    const int slot = position % Traits::kPageSize;
    copy_rows<Traits::kKDim, Traits::kThreads>(params.k, token, page, slot, params.num_kv_heads);
    copy_rows<Traits::kVDim, Traits::kThreads>(params.v, token, page, slot, params.num_kv_heads);
  }
}

}  // namespace librt::device
