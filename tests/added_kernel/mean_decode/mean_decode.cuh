// The mean of the values of a request, times a number: a kernel that a program brings along, for the tests.
//
// Grid (blocks that step through the work items, KV heads); a thread takes two columns. No request is split.
#pragma once

#include "device/mask.cuh"
#include "device/page.cuh"
#include "device/types.cuh"
#include "device/work.cuh"
#include "mean_decode/mean_decode.h"

namespace librt::device {

template <class ElemType, int head_dim, int page_size>
struct MeanDecodeTraits {
  using Elem = ElemType;
  using Params = MeanDecodeParams;
  enum : int { kThreads = head_dim / 2, kMinBlocks = 1, kHeadDim = head_dim, kPageSize = page_size };
};

template <class Traits>
__device__ __forceinline__ void write_mean(const MeanDecodeParams& params, const WorkItem& item, int head) {
  using Elem = typename Traits::Elem;
  const int column = 2 * threadIdx.x;
  const int first_page = params.kv_indptr[item.request];
  const int num_pages = params.kv_indptr[item.request + 1] - first_page;
  const KvExtent extent = kv_extent<Traits::kPageSize>(item, num_pages, params.kv_last_page_len[item.request]);
  const int* const ids = params.kv_indices + first_page;
  float low = 0.0f, high = 0.0f;
  for (unsigned position = 0; position < extent.tokens; ++position) {
    const Offset at = static_cast<Offset>(ids[position / Traits::kPageSize]) * params.page_stride +
                      static_cast<Offset>(position % Traits::kPageSize) * params.token_stride +
                      head * params.head_stride + column;
    const unsigned pair = *reinterpret_cast<const unsigned*>(static_cast<const char*>(params.v_pages) + 2 * at);
    low += Elem::low(pair);
    high += Elem::high(pair);
  }
  const float factor = extent.tokens == 0 ? 0.0f : params.scale / static_cast<float>(extent.tokens);
  const Offset row = static_cast<Offset>(item.request) * params.num_kv_heads + head;
  *reinterpret_cast<unsigned*>(static_cast<char*>(params.out) + 2 * (row * Traits::kHeadDim + column)) =
      Elem::pack(low * factor, high * factor);
}

template <class Traits>
__device__ __forceinline__ void mean_decode(const MeanDecodeParams& params) {
  const int head = blockIdx.y;
  const bool has_plan =
      for_each_item(params.plan, [&](const WorkItem& item) { write_mean<Traits>(params, item, head); });
  if (!has_plan) {
    write_nan_rows<Traits::kThreads, Traits::kHeadDim>(params.plan, params.out, nullptr, params.num_kv_heads, head, 1);
  }
}

}  // namespace librt::device
