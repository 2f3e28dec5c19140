// Decode attention with grouped query heads over a paged KV cache: one query token a request.
//
// Grid (blocks that step through the work items, KV heads), 128 threads. The query heads of one KV head are the rows of
// a 16-row matrix tile; each warp takes 16 tokens of a tile (and, for long heads, a part of the columns of V), keeps
// its own running softmax, and the warps are merged once, at the end. README.md tells how padding is kept out.
#pragma once

#include "device/copy.cuh"
#include "device/mask.cuh"
#include "device/mma.cuh"
#include "device/page.cuh"
#include "device/softmax.cuh"
#include "device/types.cuh"
#include "device/work.cuh"
#include "gqa_decode/gqa_decode.h"
#include "shared_memory.h"
#include "work.h"

namespace librt::device {

template <class ElemType, int head_dim, int page_size, int tile_tokens, int stages>
struct GqaDecodeTraits {
  using Elem = ElemType;
  using Params = GqaDecodeParams;
  enum : int {
    kHeadDim = head_dim,
    kPageSize = page_size,
    kTileTokens = tile_tokens,
    kStages = stages,
    kRows = tiles::kQueryRows,
    kThreads = tiles::gqa_threads(),
    kMinBlocks = head_dim <= 80 ? 3 : 2,
    kTokenWarps = tile_tokens / 16,               // warps side by side along the tokens of a tile
    kColumnWarps = kThreads / 32 / kTokenWarps,   // warps that share tokens and split the columns of V
    kColumns = head_dim / kColumnWarps,           // columns of the output in one warp
    kQueryInRegisters = head_dim <= 128 ? 1 : 0,  // longer rows are read again for each tile
    kPitch = tiles::row_pitch_bytes(head_dim),
    kRowPieces = head_dim / 8,  // of 16 bytes
    kTileBytes = tile_tokens * kPitch,
    kStageBytes = 2 * kTileBytes,
    kStagesAt = kRows * kPitch,
    kSourcesAt = kStagesAt + stages * kStageBytes,
    kSharedBytes = tiles::gqa_shared_bytes(head_dim, {tile_tokens, stages}),
    kMergePitch = head_dim + 8,  // floats; 8 rows of a store fall into different banks
    kStatsAt = kTokenWarps * kRows * kMergePitch * 4,
  };
  static_assert(head_dim % (16 * kColumnWarps) == 0, "a warp's columns are whole matrix tiles");
  static_assert(tile_tokens == 32 || tile_tokens == 64, "four warps split a tile");
  static_assert(tile_tokens * kRowPieces % kThreads == 0, "every pass of a copy is full");
  static_assert(stages >= 2, "the next tile loads while this one is used");
  static_assert(kSourcesAt + stages * tile_tokens * tiles::kRowSourceBytes == kSharedBytes,
                "gqa_decode.h knows the layout");
  static_assert(kStatsAt + 3 * kTokenWarps * kRows * 4 <= kSourcesAt, "the merge reuses the memory of the tiles");
};

/// Brings the tiles of one work item to shared memory.
template <class Traits>
struct GqaTiles {
  const char* k_head;  // K and V of this KV head, page 0
  const char* v_head;
  PageStrides k_strides;
  PageStrides v_strides;
  PageTable<Traits::kPageSize> pages;
  KvExtent extent;
  int count;  // tiles of the item
  char* shared;

  __device__ __forceinline__ RowSource* sources(int stage) const {
    return reinterpret_cast<RowSource*>(shared + Traits::kSourcesAt) + stage * Traits::kTileTokens;
  }
  __device__ __forceinline__ unsigned k_tile(int stage) const {
    return shared_address(shared) + Traits::kStagesAt + stage * Traits::kStageBytes;
  }
  __device__ __forceinline__ unsigned v_tile(int stage) const { return k_tile(stage) + Traits::kTileBytes; }

  /// @param at the position's place among the row sources
  __device__ __forceinline__ void set_source(RowSource* at, unsigned position, int page_id) const {
    const unsigned slot = PageTable<Traits::kPageSize>::slot(position);
    *at = {k_strides.bytes(page_id, slot), v_strides.bytes(page_id, slot)};
  }

  /// Starts the copies of one tile. Only the tile in which the item ends has positions to tell apart.
  __device__ __forceinline__ void start_copy(int tile, int stage) const {
    if (tile == count - 1) {
      start_copy<true>(tile, stage);
    } else {
      start_copy<false>(tile, stage);
    }
  }

  template <bool kEndsHere>
  __device__ __forceinline__ void start_copy(int tile, int stage) const {
    using Share = PieceShare<Traits::kThreads, Traits::kRowPieces>;
    const RowSource* const source = sources(stage);
#pragma unroll
    for (int pass = 0; pass < Traits::kTileTokens * Traits::kRowPieces / Traits::kThreads; ++pass) {
      const unsigned row = Share::row(pass);
      const unsigned offset = Share::offset(pass);
      const char* const k_from = k_head + offset + source[row].first;
      const char* const v_from = v_head + offset + source[row].second;
      const unsigned to = row * Traits::kPitch + offset;
      if (kEndsHere) {
        const unsigned position = tile * Traits::kTileTokens + row;
        copy16_or_zero(k_tile(stage) + to, k_from, extent.copy_bytes(position));
        // A weight of 0 does not silence a NaN in V: 0 * NaN = NaN. The rows of padding must be zeros.
        copy16_or_zero(v_tile(stage) + to, v_from, extent.copy_bytes(position));
      } else {
        copy16(k_tile(stage) + to, k_from);
        copy16(v_tile(stage) + to, v_from);
      }
    }
  }
};

/// What a warp has gathered so far: two rows per lane, lane/4 and lane/4 + 8.
template <class Traits>
struct GqaWarpState {
  float out[Traits::kColumns / 8][4];
  float exponent;        // of the unit of the weights
  float max[2];          // largest logit
  float sum[2];          // of the weights, for the LSE; this lane's tokens only
  float rounded_sum[2];  // of the weights as V was multiplied with them, so that the output's weights add up to 1
};

/// Rows of query heads to shared memory; rows that the group does not have become zeros.
template <class Traits>
__device__ __forceinline__ void start_query_copy(const char* q_rows, int group, unsigned shared) {
  for (unsigned piece = threadIdx.x; piece < Traits::kRows * Traits::kRowPieces; piece += Traits::kThreads) {
    const int row = piece / Traits::kRowPieces;
    const unsigned offset = piece % Traits::kRowPieces * 16;
    const Offset from = static_cast<Offset>(min(row, group - 1)) * (2 * Traits::kHeadDim) + offset;
    copy16_or_zero(shared + row * Traits::kPitch + offset, q_rows + from, row < group ? 16 : 0);
  }
}

template <class Traits>
__device__ __forceinline__ void load_query(unsigned (&fragment)[4], unsigned shared, int step) {
  const int lane = threadIdx.x % 32;
  load_matrices(fragment, shared + lane % 16 * Traits::kPitch + step * 32 + lane / 16 * 16);
}

/// logits[16 rows x 16 tokens] of this warp's tokens, not yet scaled.
template <class Traits>
__device__ __forceinline__ void score(float (&logits)[2][4], const unsigned (&query)[Traits::kHeadDim / 16][4],
                                      unsigned shared_query, unsigned k_rows) {
  const int lane = threadIdx.x % 32;
  const unsigned k_lane = k_rows + (lane % 8 + lane / 16 * 8) * Traits::kPitch + lane / 8 % 2 * 16;
#pragma unroll
  for (int step = 0; step < Traits::kHeadDim / 16; ++step) {
    unsigned k[4];
    load_matrices(k, k_lane + step * 32);
    if (Traits::kQueryInRegisters) {
      multiply_add<typename Traits::Elem>(logits[0], query[step], k[0], k[1]);
      multiply_add<typename Traits::Elem>(logits[1], query[step], k[2], k[3]);
    } else {
      unsigned q[4];
      load_query<Traits>(q, shared_query, step);
      multiply_add<typename Traits::Elem>(logits[0], q, k[0], k[1]);
      multiply_add<typename Traits::Elem>(logits[1], q, k[2], k[3]);
    }
  }
}

/// Turns logits into weights, as the left operand of the product with V, and brings the state to the new maximum.
template <class Traits>
__device__ __forceinline__ void take_weights(GqaWarpState<Traits>& state, unsigned (&weights)[4],
                                             const float (&logits)[2][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float* const left = &logits[0][2 * half];
    const float* const right = &logits[1][2 * half];
    const float tile_max = max_over_lanes<4>(fmaxf(fmaxf(left[0], left[1]), fmaxf(right[0], right[1])));
    const float new_max = fmaxf(state.max[half], tile_max);
    const float factor = rescale_factor(state.max[half], new_max);
    const float reference = lowest_finite(new_max);
    const float w0 = weight(left[0], reference, state.exponent), w1 = weight(left[1], reference, state.exponent);
    const float w2 = weight(right[0], reference, state.exponent), w3 = weight(right[1], reference, state.exponent);
    using Elem = typename Traits::Elem;
    weights[half] = Elem::pack(w0, w1);
    weights[2 + half] = Elem::pack(w2, w3);
    state.max[half] = new_max;
    state.sum[half] = state.sum[half] * factor + ((w0 + w1) + (w2 + w3));
    state.rounded_sum[half] =
        state.rounded_sum[half] * factor + ((Elem::low(weights[half]) + Elem::high(weights[half])) +
                                            (Elem::low(weights[2 + half]) + Elem::high(weights[2 + half])));
#pragma unroll
    for (int n = 0; n < Traits::kColumns / 8; ++n) {
      state.out[n][2 * half] *= factor;
      state.out[n][2 * half + 1] *= factor;
    }
  }
}

template <class Traits>
__device__ __forceinline__ void add_values(GqaWarpState<Traits>& state, const unsigned (&weights)[4], unsigned v_rows) {
  const int lane = threadIdx.x % 32;
  const unsigned v_lane = v_rows + lane % 16 * Traits::kPitch + lane / 16 * 16;
#pragma unroll
  for (int n = 0; n < Traits::kColumns / 16; ++n) {
    unsigned v[4];
    load_matrices_transposed(v, v_lane + n * 32);
    multiply_add<typename Traits::Elem>(state.out[2 * n], weights, v[0], v[1]);
    multiply_add<typename Traits::Elem>(state.out[2 * n + 1], weights, v[2], v[3]);
  }
}

/// Merges the token warps through shared memory and writes out and LSE, or the partial row of a split.
template <class Traits>
__device__ __forceinline__ void finish(GqaWarpState<Traits>& state, char* shared, const GqaDecodeParams& params,
                                       const WorkItem& item, bool has_positions, int first_head, int group) {
  const int lane = threadIdx.x % 32;
  const int token_warp = threadIdx.x / 32 % Traits::kTokenWarps;
  const int column_warp = threadIdx.x / 32 / Traits::kTokenWarps;
  float* const merge_out = reinterpret_cast<float*>(shared);
  float* const merge_max = reinterpret_cast<float*>(shared + Traits::kStatsAt);
  float* const merge_sum = merge_max + Traits::kTokenWarps * Traits::kRows;
  float* const merge_rounded = merge_sum + Traits::kTokenWarps * Traits::kRows;

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = sum_over_lanes<4>(state.sum[half]);
    const float rounded = sum_over_lanes<4>(state.rounded_sum[half]);
    if (lane % 4 == 0 && column_warp == 0) {
      const int at = token_warp * Traits::kRows + lane / 4 + 8 * half;
      merge_max[at] = state.max[half];
      merge_sum[at] = sum;
      merge_rounded[at] = rounded;
    }
  }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    float max = negative_infinity();
#pragma unroll
    for (int w = 0; w < Traits::kTokenWarps; ++w) max = fmaxf(max, merge_max[w * Traits::kRows + row]);
    float sum = 0.0f, rounded = 0.0f;
#pragma unroll
    for (int w = 0; w < Traits::kTokenWarps; ++w) {
      const float factor = rescale_factor(merge_max[w * Traits::kRows + row], max);
      sum += merge_sum[w * Traits::kRows + row] * factor;
      rounded += merge_rounded[w * Traits::kRows + row] * factor;
    }
    sum = without_unit(sum, state.exponent);
    const float scale = rescale_factor(state.max[half], max) * inverse_or_zero(rounded);
    float* const to = merge_out + (token_warp * Traits::kRows + row) * Traits::kMergePitch +
                      column_warp * Traits::kColumns + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < Traits::kColumns / 8; ++n) {
      *reinterpret_cast<float2*>(to + n * 8) =
          make_float2(state.out[n][2 * half] * scale, state.out[n][2 * half + 1] * scale);
    }
    if (threadIdx.x < 32 && lane % 4 == 0 && row < group) {
      if (item.partial_slot >= 0) {
        params.plan.partial_stats[static_cast<Offset>(item.partial_slot) * params.num_qo_heads + first_head + row] =
            partial_stats(max, sum, has_positions);
      } else if (params.lse != nullptr) {
        params.lse[static_cast<Offset>(item.request) * params.num_qo_heads + first_head + row] = log_sum_exp(max, sum);
      }
    }
  }
  __syncthreads();

  const Offset out_row =
      static_cast<Offset>(item.partial_slot >= 0 ? item.partial_slot : item.request) * params.num_qo_heads + first_head;
  enum : int { kQuads = Traits::kHeadDim / 4 };
  for (unsigned piece = threadIdx.x; piece < static_cast<unsigned>(group) * kQuads; piece += Traits::kThreads) {
    const int row = piece / kQuads;
    const int column = piece % kQuads * 4;
    float4 total = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll
    for (int w = 0; w < Traits::kTokenWarps; ++w) {
      const float4 part =
          *reinterpret_cast<const float4*>(merge_out + (w * Traits::kRows + row) * Traits::kMergePitch + column);
      total.x += part.x;
      total.y += part.y;
      total.z += part.z;
      total.w += part.w;
    }
    const Offset at = (out_row + row) * Traits::kHeadDim + column;
    if (item.partial_slot >= 0) {
      *reinterpret_cast<float4*>(params.plan.partial_out + at) = total;
    } else {
      using Elem = typename Traits::Elem;
      *reinterpret_cast<uint2*>(static_cast<char*>(params.out) + 2 * at) = pack_means<Elem>(total);
    }
  }
}

template <class Traits>
__device__ __forceinline__ void decode_item(const GqaDecodeParams& params, const WorkItem& item, char* shared,
                                            int first_head, int group) {
  const int lane = threadIdx.x % 32;
  const int token_warp = threadIdx.x / 32 % Traits::kTokenWarps;
  const int column_warp = threadIdx.x / 32 / Traits::kTokenWarps;

  const int first_page = params.kv_indptr[item.request];
  const int num_pages = params.kv_indptr[item.request + 1] - first_page;
  const KvExtent extent = kv_extent<Traits::kPageSize>(item, num_pages, params.kv_last_page_len[item.request]);
  const GqaTiles<Traits> tiles{
      static_cast<const char*>(params.k_pages) + 2 * (blockIdx.y * params.k_head_stride),
      static_cast<const char*>(params.v_pages) + 2 * (blockIdx.y * params.v_head_stride),
      {params.k_page_stride, params.k_token_stride},
      {params.v_page_stride, params.v_token_stride},
      {params.kv_indices + first_page + item.page_begin, PageTable<Traits::kPageSize>::page(extent.tokens - 1)},
      extent,
      static_cast<int>((extent.tokens + Traits::kTileTokens - 1) / Traits::kTileTokens),
      shared};

  GqaWarpState<Traits> state;
#pragma unroll
  for (int n = 0; n < Traits::kColumns / 8; ++n)
    state.out[n][0] = state.out[n][1] = state.out[n][2] = state.out[n][3] = 0;
  state.exponent = weight_exponent<typename Traits::Elem>(extent.tokens);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    state.max[half] = negative_infinity();
    state.sum[half] = state.rounded_sum[half] = 0.0f;
  }

  if (tiles.count > 0) {
    const unsigned shared_query = shared_address(shared);
    start_query_copy<Traits>(
        static_cast<const char*>(params.q) +
            2 * Traits::kHeadDim * (static_cast<Offset>(item.request) * params.num_qo_heads + first_head),
        group, shared_query);
    commit_copies();
    const unsigned covered = min(tiles.count, Traits::kStages) * Traits::kTileTokens;
    for (unsigned position = threadIdx.x; position < covered; position += Traits::kThreads) {
      tiles.set_source(tiles.sources(0) + position, position, tiles.pages.id(position));
    }
    __syncthreads();
#pragma unroll
    for (int tile = 0; tile < Traits::kStages - 1; ++tile) {
      if (tile < tiles.count) tiles.start_copy(tile, tile);
      commit_copies();
    }

    unsigned query[Traits::kHeadDim / 16][4];
    wait_copies<Traits::kStages - 1>();
    __syncthreads();
    if (Traits::kQueryInRegisters) {
#pragma unroll
      for (int step = 0; step < Traits::kHeadDim / 16; ++step) load_query<Traits>(query[step], shared_query, step);
    }

    for (int tile = 0, stage = 0; tile < tiles.count; ++tile) {
      wait_copies<Traits::kStages - 2>();
      __syncthreads();  // this tile is complete, and the one before it is no longer in use
      if (tile + Traits::kStages - 1 < tiles.count) {
        tiles.start_copy(tile + Traits::kStages - 1, stage == 0 ? Traits::kStages - 1 : stage - 1);
      }
      commit_copies();
      // The page ids of the tile that will follow in this stage: asked for here, used after the arithmetic.
      const unsigned ahead = static_cast<unsigned>(tile + Traits::kStages) * Traits::kTileTokens + threadIdx.x;
      const bool looks_up = threadIdx.x < Traits::kTileTokens && tile + Traits::kStages < tiles.count;
      const int page_id = looks_up ? tiles.pages.id(ahead) : 0;

      float logits[2][4] = {};
      score<Traits>(logits, query, shared_query, tiles.k_tile(stage) + token_warp * 16 * Traits::kPitch);
      const unsigned position = tile * Traits::kTileTokens + token_warp * 16 + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) logits[n][i] *= params.sm_scale;
      }
      if (tile == tiles.count - 1) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) logits[n][i] = extent.mask(logits[n][i], position + n * 8 + i % 2);
        }
      }
      unsigned weights[4];
      take_weights<Traits>(state, weights, logits);
      add_values<Traits>(state, weights,
                         tiles.v_tile(stage) + token_warp * 16 * Traits::kPitch + column_warp * Traits::kColumns * 2);
      if (looks_up) tiles.set_source(tiles.sources(stage) + threadIdx.x, ahead, page_id);
      stage = stage == Traits::kStages - 1 ? 0 : stage + 1;
    }
    wait_copies<0>();
    __syncthreads();  // the merge writes where the tiles were
  }
  finish<Traits>(state, shared, params, item, tiles.count > 0, first_head, group);
}

template <class Traits>
__device__ __forceinline__ void gqa_decode(const GqaDecodeParams& params) {
  extern __shared__ __align__(128) char shared[];
  const int group = params.num_qo_heads / params.num_kv_heads;
  const int first_head = static_cast<int>(blockIdx.y) * group;
  const bool has_plan = for_each_item(
      params.plan, [&](const WorkItem& item) { decode_item<Traits>(params, item, shared, first_head, group); });
  if (!has_plan) {
    write_nan_rows<Traits::kThreads, Traits::kHeadDim>(params.plan, params.out, params.lse, params.num_qo_heads,
                                                       first_head, group);
  }
}

}  // namespace librt::device
