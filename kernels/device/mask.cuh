// The one place where a request's length becomes a decision: what is a valid position and what is padding.
#pragma once

#include "device/softmax.cuh"
#include "work.h"

namespace librt::device {

/// The valid positions of one work item, counted from the first token of the item's first page.
struct KvExtent {
  unsigned tokens;  // below 2^31; 0: the item has nothing to attend to

  __device__ __forceinline__ bool contains(unsigned position) const { return position < tokens; }

  /// Source size of a 16-byte copy: the copy of a padding position writes zeros.
  __device__ __forceinline__ int copy_bytes(unsigned position) const { return contains(position) ? 16 : 0; }

  /// Chosen, not added: a NaN that padding put into `logit` must not survive, and NaN + -inf is NaN.
  __device__ __forceinline__ float mask(float logit, unsigned position) const {
    return contains(position) ? logit : negative_infinity();
  }
};

/// Clips what the plan asks for to what the request has at the time of the launch.
/// @param num_pages pages that the request owns now; with 0, `last_page_len` is ignored whatever it holds
template <int kPageSize>
__device__ __forceinline__ KvExtent kv_extent(const WorkItem& item, int num_pages, int last_page_len) {
  if (num_pages <= item.page_begin || item.page_end <= item.page_begin) return {0};
  const int last_page_tokens = min(max(last_page_len, 0), kPageSize);
  const long long planned = static_cast<long long>(item.page_end - item.page_begin) * kPageSize;
  const long long present = static_cast<long long>(num_pages - 1 - item.page_begin) * kPageSize + last_page_tokens;
  return {static_cast<unsigned>(min(planned, present))};
}

}  // namespace librt::device
