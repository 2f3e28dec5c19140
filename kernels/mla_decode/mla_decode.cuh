// Decode attention over a paged latent KV cache (absorbed MLA): one query token a request.
//
// Each token has one row for all heads: ckv, which is key and value at once, and kpe, which is key only. Grid (work
// items, blocks of kRows query heads), 256 threads. For each tile the eight warps share the scores, then the softmax
// (each warp owns kRows / 8 rows), then the output, of which each warp holds 1/8 of the columns for all rows.
#pragma once

#include "device/copy.cuh"
#include "device/mask.cuh"
#include "device/mma.cuh"
#include "device/page.cuh"
#include "device/softmax.cuh"
#include "device/types.cuh"
#include "device/work.cuh"
#include "mla_decode/mla_decode.h"
#include "shared_memory.h"
#include "work.h"

namespace librt::device {

template <class ElemType, int head_dim_ckv, int head_dim_kpe, int page_size, int rows, int tile_tokens, int stages>
struct MlaDecodeTraits {
  using Elem = ElemType;
  using Params = MlaDecodeParams;
  enum : int {
    kCkv = head_dim_ckv,
    kKpe = head_dim_kpe,
    kPageSize = page_size,
    kRows = rows,
    kTileTokens = tile_tokens,
    kStages = stages,
    kThreads = tiles::mla_threads(),
    kMinBlocks = rows == 16 ? 2 : 1,
    kWarps = kThreads / 32,
    kRowTiles = rows / 16,
    kParts = tiles::mla_score_parts(rows, tile_tokens),  // warps that split one score sum
    kTokenWarps = kWarps / kRowTiles / kParts,           // warps side by side along the tokens
    kWarpTokens = tile_tokens / kTokenWarps,
    kSteps = (head_dim_ckv + head_dim_kpe) / 16 / kParts,  // of 16 dimensions, in one score sum
    kColumns = head_dim_ckv / kWarps,                      // of the output, in one warp
    kRowLanes = 32 / (rows / kWarps),                      // lanes that share a row in the softmax
    kLaneTokens = tile_tokens / kRowLanes,
    kCkvPieces = head_dim_ckv / 8,  // of 16 bytes, in a row
    kKpePieces = head_dim_kpe / 8,
    kPitch = tiles::row_pitch_bytes(head_dim_ckv + head_dim_kpe),
    kScorePitch = tiles::mla_score_pitch_bytes(tile_tokens),
    kPartBytes = rows * kScorePitch,
    kTileBytes = tile_tokens * kPitch,
    kTilesAt = rows * kPitch,
    kSourcesAt = kTilesAt + stages * kTileBytes,
    kScoresAt = kSourcesAt + stages * tile_tokens * tiles::kRowSourceBytes,
    kFactorsAt = kScoresAt + kParts * kPartBytes,
    kSharedBytes = tiles::mla_shared_bytes(head_dim_ckv, head_dim_kpe, rows, {tile_tokens, stages}),
  };
  static_assert(rows == 16 || rows == 32 || rows == 64, "eight warps share the rows");
  static_assert(kFactorsAt + rows * 4 == kSharedBytes, "mla_decode.h knows the layout");
  static_assert(kSteps * 16 * kParts == head_dim_ckv + head_dim_kpe, "the parts of a score sum are equal");
  static_assert(kWarpTokens == 8 || kWarpTokens % 16 == 0, "a warp's tokens are whole matrix tiles");
  static_assert(kWarpTokens != 8 || kSteps % 2 == 0, "with 8 tokens, a matrix load covers two steps");
  static_assert(tile_tokens % 16 == 0 && kLaneTokens % 2 == 0 && kColumns % 16 == 0, "whole matrix tiles and pairs");
};

/// Brings the tiles of one work item to shared memory.
template <class Traits>
struct MlaTiles {
  const char* ckv_pages;
  const char* kpe_pages;
  PageStrides ckv_strides;
  PageStrides kpe_strides;
  PageTable<Traits::kPageSize> pages;
  KvExtent extent;
  int count;  // tiles of the item
  char* shared;

  __device__ __forceinline__ RowSource* sources(int stage) const {
    return reinterpret_cast<RowSource*>(shared + Traits::kSourcesAt) + stage * Traits::kTileTokens;
  }
  __device__ __forceinline__ unsigned tile_at(int stage) const {
    return shared_address(shared) + Traits::kTilesAt + stage * Traits::kTileBytes;
  }
  /// @param at the position's place among the row sources
  __device__ __forceinline__ void set_source(RowSource* at, unsigned position, int page_id) const {
    const unsigned slot = PageTable<Traits::kPageSize>::slot(position);
    *at = {ckv_strides.bytes(page_id, slot), kpe_strides.bytes(page_id, slot)};
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
    using CkvShare = PieceShare<Traits::kThreads, Traits::kCkvPieces>;
    using KpeShare = PieceShare<Traits::kThreads, Traits::kKpePieces>;
    const RowSource* const source = sources(stage);
    const unsigned to = tile_at(stage);
#pragma unroll 4
    for (int pass = 0; pass < Traits::kTileTokens * Traits::kCkvPieces / Traits::kThreads; ++pass) {
      const unsigned row = CkvShare::row(pass);
      const unsigned offset = CkvShare::offset(pass);
      const char* const from = ckv_pages + offset + source[row].first;
      if (kEndsHere) {
        // ckv is the value too, and a weight of 0 does not silence a NaN: 0 * NaN = NaN. Padding must be zeros.
        const unsigned position = tile * Traits::kTileTokens + row;
        copy16_or_zero(to + row * Traits::kPitch + offset, from, extent.copy_bytes(position));
      } else {
        copy16(to + row * Traits::kPitch + offset, from);
      }
    }
#pragma unroll
    for (int pass = 0; pass * Traits::kThreads < Traits::kTileTokens * Traits::kKpePieces; ++pass) {
      const unsigned row = KpeShare::row(pass);
      const unsigned offset = KpeShare::offset(pass);
      if (row >= Traits::kTileTokens) break;  // a small tile keeps only some threads busy
      const char* const kpe_from = kpe_pages + offset + source[row].second;
      const unsigned kpe_to = to + row * Traits::kPitch + 2 * Traits::kCkv + offset;
      if (kEndsHere) {
        copy16_or_zero(kpe_to, kpe_from, extent.copy_bytes(tile * Traits::kTileTokens + row));
      } else {
        copy16(kpe_to, kpe_from);
      }
    }
  }
};

/// Rows of query heads, of kRowPieces * 8 numbers, to shared memory; rows past the last head become zeros.
template <class Traits, int kRowPieces>
__device__ __forceinline__ void start_query_copy(const void* q, Offset first_row, int heads, unsigned shared) {
  using Share = PieceShare<Traits::kThreads, kRowPieces>;
#pragma unroll 4
  for (int pass = 0; pass * Traits::kThreads < Traits::kRows * kRowPieces; ++pass) {
    const int row = static_cast<int>(Share::row(pass));
    if (row >= Traits::kRows) break;
    const Offset from = (first_row + min(row, heads - 1)) * (kRowPieces * 16) + Share::offset(pass);
    copy16_or_zero(shared + row * Traits::kPitch + Share::offset(pass), static_cast<const char*>(q) + from,
                   row < heads ? 16 : 0);
  }
}

/// This warp's share of the scores of a tile, not yet scaled, to shared memory.
template <class Traits>
__device__ __forceinline__ void write_scores(char* shared, unsigned tile_rows) {
  using Elem = typename Traits::Elem;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int row_tile = warp % Traits::kRowTiles;
  const int token_warp = warp / Traits::kRowTiles % Traits::kTokenWarps;
  const int part = warp / Traits::kRowTiles / Traits::kTokenWarps;
  const int first_byte = part * Traits::kSteps * 32;

  float scores[Traits::kWarpTokens / 8][4] = {};
  const unsigned q_lane =
      shared_address(shared) + (row_tile * 16 + lane % 16) * Traits::kPitch + first_byte + lane / 16 * 16;
  const unsigned k_warp = tile_rows + token_warp * Traits::kWarpTokens * Traits::kPitch + first_byte;
  if (Traits::kWarpTokens == 8) {
    // One load gives the keys of two steps.
    const unsigned k_lane = k_warp + lane % 8 * Traits::kPitch + lane / 8 * 16;
#pragma unroll 3
    for (int step = 0; step < Traits::kSteps; step += 2) {
      unsigned k[4], q[4];
      load_matrices(k, k_lane + step * 32);
      load_matrices(q, q_lane + step * 32);
      multiply_add<Elem>(scores[0], q, k[0], k[1]);
      load_matrices(q, q_lane + step * 32 + 32);
      multiply_add<Elem>(scores[0], q, k[2], k[3]);
    }
  } else {
    const unsigned k_lane = k_warp + (lane % 8 + lane / 16 * 8) * Traits::kPitch + lane / 8 % 2 * 16;
#pragma unroll 4
    for (int step = 0; step < Traits::kSteps; ++step) {
      unsigned k[4], q[4];
      load_matrices(q, q_lane + step * 32);
#pragma unroll
      for (int n = 0; n < Traits::kWarpTokens / 16; ++n) {
        load_matrices(k, k_lane + n * 16 * Traits::kPitch + step * 32);
        multiply_add<Elem>(scores[2 * n], q, k[0], k[1]);
        multiply_add<Elem>(scores[2 * n + 1], q, k[2], k[3]);
      }
    }
  }
  char* const to = shared + Traits::kScoresAt + part * Traits::kPartBytes +
                   (row_tile * 16 + lane / 4) * Traits::kScorePitch +
                   4 * (token_warp * Traits::kWarpTokens + lane % 4 * 2);
#pragma unroll
  for (int n = 0; n < Traits::kWarpTokens / 8; ++n) {
    *reinterpret_cast<float2*>(to + n * 32) = make_float2(scores[n][0], scores[n][1]);
    *reinterpret_cast<float2*>(to + n * 32 + 8 * Traits::kScorePitch) = make_float2(scores[n][2], scores[n][3]);
  }
}

/// The running softmax of the row that this lane shares with its neighbours.
struct MlaRowState {
  float exponent;     // of the unit of the weights
  float max;          // largest logit
  float sum;          // of the weights, for the LSE; this lane's tokens only
  float rounded_sum;  // of the weights as the values were multiplied with them
};

/// Scores of a tile to weights, in their place, and the factor that brings the row's earlier output to the new maximum.
template <class Traits>
__device__ __forceinline__ void write_weights(MlaRowState& state, char* shared, float sm_scale, bool ends_here,
                                              const KvExtent& extent, unsigned first_position) {
  using Elem = typename Traits::Elem;
  const int row = static_cast<int>(threadIdx.x) / Traits::kRowLanes;
  const int first_token = static_cast<int>(threadIdx.x) % Traits::kRowLanes * Traits::kLaneTokens;
  char* const row_scores = shared + Traits::kScoresAt + row * Traits::kScorePitch;

  float logits[Traits::kLaneTokens];
  float tile_max = negative_infinity();
#pragma unroll
  for (int i = 0; i < Traits::kLaneTokens; i += 2) {
    float2 pair = *reinterpret_cast<const float2*>(row_scores + 4 * (first_token + i));
#pragma unroll
    for (int part = 1; part < Traits::kParts; ++part) {
      const float2 more =
          *reinterpret_cast<const float2*>(row_scores + part * Traits::kPartBytes + 4 * (first_token + i));
      pair.x += more.x;
      pair.y += more.y;
    }
    logits[i] = pair.x * sm_scale;
    logits[i + 1] = pair.y * sm_scale;
  }
  if (ends_here) {
#pragma unroll
    for (int i = 0; i < Traits::kLaneTokens; ++i) {
      logits[i] = extent.mask(logits[i], first_position + first_token + i);
    }
  }
#pragma unroll
  for (int i = 0; i < Traits::kLaneTokens; ++i) tile_max = fmaxf(tile_max, logits[i]);
  // The exchange also orders the row's reads before the weights take the place of the scores.
  const float new_max = fmaxf(state.max, max_over_lanes<Traits::kRowLanes>(tile_max));
  __syncwarp();
  const float factor = rescale_factor(state.max, new_max);
  const float reference = lowest_finite(new_max);
  state.max = new_max;
  float sum = -0.0f, rounded_sum = -0.0f;  // what changes nothing it is added to
#pragma unroll
  for (int i = 0; i < Traits::kLaneTokens; i += 2) {
    const float w0 = weight(logits[i], reference, state.exponent);
    const float w1 = weight(logits[i + 1], reference, state.exponent);
    const unsigned packed = Elem::pack(w0, w1);
    *reinterpret_cast<unsigned*>(row_scores + 2 * (first_token + i)) = packed;
    sum += w0 + w1;
    rounded_sum += Elem::low(packed) + Elem::high(packed);
  }
  state.sum = state.sum * factor + sum;
  state.rounded_sum = state.rounded_sum * factor + rounded_sum;
  if (threadIdx.x % Traits::kRowLanes == 0) reinterpret_cast<float*>(shared + Traits::kFactorsAt)[row] = factor;
}

template <class Traits>
using MlaOutput = float[Traits::kRowTiles][Traits::kColumns / 8][4];

/// Multiplies the rows of the output by what is in the row factors.
template <class Traits>
__device__ __forceinline__ void scale_rows(MlaOutput<Traits>& out, const char* shared) {
  const float* const factors = reinterpret_cast<const float*>(shared + Traits::kFactorsAt) + threadIdx.x % 32 / 4;
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float factor = factors[m * 16 + half * 8];
#pragma unroll
      for (int n = 0; n < Traits::kColumns / 8; ++n) {
        out[m][n][2 * half] *= factor;
        out[m][n][2 * half + 1] *= factor;
      }
    }
  }
}

template <class Traits>
__device__ __forceinline__ void add_values(MlaOutput<Traits>& out, const char* shared, unsigned tile_rows) {
  using Elem = typename Traits::Elem;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const unsigned w_lane = shared_address(shared) + Traits::kScoresAt + lane % 16 * Traits::kScorePitch + lane / 16 * 16;
  const unsigned v_lane = tile_rows + lane % 16 * Traits::kPitch + warp * Traits::kColumns * 2 + lane / 16 * 16;
#pragma unroll
  for (int step = 0; step < Traits::kTileTokens / 16; ++step) {
    unsigned weights[Traits::kRowTiles][4];
#pragma unroll
    for (int m = 0; m < Traits::kRowTiles; ++m) {
      load_matrices(weights[m], w_lane + m * 16 * Traits::kScorePitch + step * 32);
    }
#pragma unroll
    for (int n = 0; n < Traits::kColumns / 16; ++n) {
      unsigned v[4];
      load_matrices_transposed(v, v_lane + step * 16 * Traits::kPitch + n * 32);
#pragma unroll
      for (int m = 0; m < Traits::kRowTiles; ++m) {
        multiply_add<Elem>(out[m][2 * n], weights[m], v[0], v[1]);
        multiply_add<Elem>(out[m][2 * n + 1], weights[m], v[2], v[3]);
      }
    }
  }
}

/// Writes out and LSE, or the partial row of a split. Rows past the last head are not written.
template <class Traits>
__device__ __forceinline__ void finish(MlaOutput<Traits>& out, const MlaRowState& state, char* shared,
                                       const MlaDecodeParams& params, const WorkItem& item, bool has_positions,
                                       int first_head, int heads) {
  using Elem = typename Traits::Elem;
  const Offset out_row =
      static_cast<Offset>(item.partial_slot >= 0 ? item.partial_slot : item.request) * params.num_heads + first_head;
  const int row = static_cast<int>(threadIdx.x) / Traits::kRowLanes;
  const float sum = without_unit(sum_over_lanes<Traits::kRowLanes>(state.sum), state.exponent);
  const float rounded_sum = sum_over_lanes<Traits::kRowLanes>(state.rounded_sum);
  if (threadIdx.x % Traits::kRowLanes == 0) {
    reinterpret_cast<float*>(shared + Traits::kFactorsAt)[row] = inverse_or_zero(rounded_sum);
    if (row < heads) {
      if (item.partial_slot >= 0) {
        params.plan.partial_stats[out_row + row] = partial_stats(state.max, sum, has_positions);
      } else if (params.lse != nullptr) {
        params.lse[out_row + row] = log_sum_exp(state.max, sum);
      }
    }
  }
  __syncthreads();
  scale_rows<Traits>(out, shared);

  const int lane = threadIdx.x % 32;
  const int column = static_cast<int>(threadIdx.x) / 32 * Traits::kColumns + lane % 4 * 2;
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m) {
    if (item.partial_slot < 0) keep_in_range<Elem>(out[m]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int out_of_block = m * 16 + half * 8 + lane / 4;
      if (out_of_block >= heads) continue;
      const Offset at = (out_row + out_of_block) * Traits::kCkv + column;
      if (item.partial_slot >= 0) {
#pragma unroll
        for (int n = 0; n < Traits::kColumns / 8; ++n) {
          *reinterpret_cast<float2*>(params.plan.partial_out + at + n * 8) =
              make_float2(out[m][n][2 * half], out[m][n][2 * half + 1]);
        }
      } else {
        char* const to = static_cast<char*>(params.out) + 2 * at;
#pragma unroll
        for (int n = 0; n < Traits::kColumns / 8; ++n) {
          *reinterpret_cast<unsigned*>(to + n * 16) = Elem::pack(out[m][n][2 * half], out[m][n][2 * half + 1]);
        }
      }
    }
  }
}

template <class Traits>
__device__ __forceinline__ void decode_item(const MlaDecodeParams& params, const WorkItem& item, char* shared,
                                            int first_head, int heads) {
  const int first_page = params.kv_indptr[item.request];
  const int num_pages = params.kv_indptr[item.request + 1] - first_page;
  const KvExtent extent = kv_extent<Traits::kPageSize>(item, num_pages, params.kv_last_page_len[item.request]);
  const MlaTiles<Traits> tiles{
      static_cast<const char*>(params.ckv_pages),
      static_cast<const char*>(params.kpe_pages),
      {params.ckv_page_stride, params.ckv_token_stride},
      {params.kpe_page_stride, params.kpe_token_stride},
      {params.kv_indices + first_page + item.page_begin, PageTable<Traits::kPageSize>::page(extent.tokens - 1)},
      extent,
      static_cast<int>((extent.tokens + Traits::kTileTokens - 1) / Traits::kTileTokens),
      shared};

  MlaOutput<Traits> out = {};
  MlaRowState state{weight_exponent<typename Traits::Elem>(extent.tokens), negative_infinity(), 0.0f, 0.0f};

  if (tiles.count > 0) {
    const Offset first_row = static_cast<Offset>(item.request) * params.num_heads + first_head;
    const unsigned query = shared_address(shared);
    start_query_copy<Traits, Traits::kCkvPieces>(params.q_nope, first_row, heads, query);
    start_query_copy<Traits, Traits::kKpePieces>(params.q_pe, first_row, heads, query + 2 * Traits::kCkv);
    const unsigned covered = min(tiles.count, Traits::kStages) * Traits::kTileTokens;
    for (unsigned position = threadIdx.x; position < covered; position += Traits::kThreads) {
      tiles.set_source(tiles.sources(0) + position, position, tiles.pages.id(position));
    }
    __syncthreads();
    // Tiles but the last stage's; the query rows are in the first group.
#pragma unroll
    for (int tile = 0; tile < Traits::kStages - 1; ++tile) {
      if (tile < tiles.count) tiles.start_copy(tile, tile);
      commit_copies();
    }

    for (int tile = 0, stage = 0; tile < tiles.count; ++tile) {
      if (Traits::kStages == 1) {
        __syncthreads();  // the tile before is no longer in use
        tiles.start_copy(tile, 0);
        commit_copies();
        wait_copies<0>();
        __syncthreads();
      } else {
        wait_copies<(Traits::kStages > 1 ? Traits::kStages - 2 : 0)>();
        __syncthreads();  // this tile is complete, and the one before it is no longer in use
        if (tile + Traits::kStages - 1 < tiles.count) {
          tiles.start_copy(tile + Traits::kStages - 1, stage == 0 ? Traits::kStages - 1 : stage - 1);
        }
        commit_copies();
      }
      // The page ids of the tile that will follow in this stage: asked for here, used after the scores.
      const unsigned ahead = static_cast<unsigned>(tile + Traits::kStages) * Traits::kTileTokens + threadIdx.x;
      const bool looks_up = threadIdx.x < Traits::kTileTokens && tile + Traits::kStages < tiles.count;
      const int page_id = looks_up ? tiles.pages.id(ahead) : 0;

      write_scores<Traits>(shared, tiles.tile_at(stage));
      __syncthreads();  // all scores of the tile are there
      write_weights<Traits>(state, shared, params.sm_scale, tile == tiles.count - 1, extent,
                            tile * Traits::kTileTokens);
      if (looks_up) tiles.set_source(tiles.sources(stage) + threadIdx.x, ahead, page_id);
      __syncthreads();  // all weights and row factors are there
      scale_rows<Traits>(out, shared);
      add_values<Traits>(out, shared, tiles.tile_at(stage));
      stage = stage == Traits::kStages - 1 ? 0 : stage + 1;
    }
    wait_copies<0>();
    __syncthreads();  // the row factors are no longer in use
  }
  finish<Traits>(out, state, shared, params, item, tiles.count > 0, first_head, heads);
}

template <class Traits>
__device__ __forceinline__ void mla_decode(const MlaDecodeParams& params) {
  extern __shared__ __align__(128) char shared[];
  const int first_head = static_cast<int>(blockIdx.y) * Traits::kRows;
  const int heads = min(params.num_heads - first_head, static_cast<int>(Traits::kRows));
  const bool has_plan = for_each_item(
      params.plan, [&](const WorkItem& item) { decode_item<Traits>(params, item, shared, first_head, heads); });
  if (!has_plan) {
    write_nan_rows<Traits::kThreads, Traits::kCkv>(params.plan, params.out, params.lse, params.num_heads, first_head,
                                                   heads);
  }
}

}  // namespace librt::device
