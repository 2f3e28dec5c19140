// Combines the partial results of the requests that the plan has split.
//
// Grid (heads, blocks that step through the split requests). Threads side by side hold the columns of the row, four
// each; groups of such threads take every kGroups-th part, and the groups are added in a fixed order, so the bits
// depend on the split alone.
#pragma once

#include "device/softmax.cuh"
#include "device/types.cuh"
#include "merge_states/merge_states.h"
#include "work.h"

namespace librt::device {

template <class ElemType, int head_dim>
struct MergeStatesTraits {
  using Elem = ElemType;
  using Params = MergeParams;
  enum : int {
    kHeadDim = head_dim,
    kThreads = tiles::merge_threads(),
    kQuads = head_dim / 4,        // threads side by side
    kGroups = kThreads / kQuads,  // parts under way at a time; the other threads help with the maximum and the sum
    kMinBlocks = 1,
    kSharedBytes = 0,
  };
  static_assert(head_dim % 4 == 0 && kGroups >= 1, "a row fits the block");
};

/// @param index of the split request among those of the plan
template <class Traits>
__device__ __forceinline__ void merge_request(const MergeParams& params, int index) {
  const PlanTables& plan = params.plan;
  __shared__ float4 group_out[Traits::kGroups][Traits::kQuads];
  __shared__ float warp_max[Traits::kThreads / 32];
  __shared__ float warp_sum[Traits::kThreads / 32];

  const int thread = threadIdx.x;
  const int head = blockIdx.x;
  const int begin = plan.merge_indptr[index];
  const int end = plan.merge_indptr[index + 1];
  const auto partial_row = [&](int slot) { return static_cast<Offset>(slot) * params.num_heads + head; };

  float max = negative_infinity();
  for (int slot = begin + thread; slot < end; slot += Traits::kThreads) {
    max = fmaxf(max, plan.partial_stats[partial_row(slot)].max);
  }
  max = max_over_lanes<32>(max);
  if (thread % 32 == 0) warp_max[thread / 32] = max;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < Traits::kThreads / 32; ++w) max = fmaxf(max, warp_max[w]);

  // The sum comes before the rows, so that their weights are at most 1: a sum of large rows would pass the end of fp32
  // where their mean does not.
  float sum = 0.0f;
  for (int slot = begin + thread; slot < end; slot += Traits::kThreads) {
    sum += merge_weight(plan.partial_stats[partial_row(slot)], max);
  }
  sum = sum_over_lanes<32>(sum);
  if (thread % 32 == 0) warp_sum[thread / 32] = sum;
  __syncthreads();
  sum = 0.0f;
#pragma unroll
  for (int w = 0; w < Traits::kThreads / 32; ++w) sum += warp_sum[w];
  const float scale = inverse_or_zero(sum);

  const int group = thread / Traits::kQuads;
  const int quad = thread % Traits::kQuads;
  float4 out = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (group < Traits::kGroups) {
#pragma unroll 4
    for (int slot = begin + group; slot < end; slot += Traits::kGroups) {
      const PartialStats stats = plan.partial_stats[partial_row(slot)];
      const float4 part =
          *reinterpret_cast<const float4*>(plan.partial_out + partial_row(slot) * Traits::kHeadDim + quad * 4);
      // A part without positions is left out, not multiplied by 0: its row may hold anything. A part whose positions
      // have no weight is multiplied: 0 * NaN = NaN, as it would be without the split.
      if (stats.max == negative_infinity()) continue;
      const float part_weight = merge_weight(stats, max) * scale;
      out.x += part.x * part_weight;
      out.y += part.y * part_weight;
      out.z += part.z * part_weight;
      out.w += part.w * part_weight;
    }
    group_out[group][quad] = out;
  }
  __syncthreads();
  if (group != 0) return;

#pragma unroll
  for (int g = 1; g < Traits::kGroups; ++g) {
    const float4 part = group_out[g][quad];
    out.x += part.x;
    out.y += part.y;
    out.z += part.z;
    out.w += part.w;
  }
  const Offset row = static_cast<Offset>(plan.merge_requests[index]) * params.num_heads + head;
  using Elem = typename Traits::Elem;
  *reinterpret_cast<uint2*>(static_cast<char*>(params.out) + 2 * (row * Traits::kHeadDim + quad * 4)) =
      pack_means<Elem>(out);
  if (quad == 0 && params.lse != nullptr) params.lse[row] = log_sum_exp(max, sum);
}

template <class Traits>
__device__ __forceinline__ void merge_states(const MergeParams& params) {
  const PlanHeader header = *params.plan.header;
  if (header.mark != params.plan.mark) return;  // the decode has made the rows NaN
  // No barrier between two: what one still reads, the next one writes behind a barrier of its own.
  for (int i = static_cast<int>(blockIdx.y); i < header.num_merges; i += static_cast<int>(gridDim.y)) {
    merge_request<Traits>(params, i);
  }
}

}  // namespace librt::device
