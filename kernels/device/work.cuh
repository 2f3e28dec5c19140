// How a block finds its work: it steps through the items of the plan that is staged when it runs.
#pragma once

#include "device/types.cuh"
#include "work.h"

namespace librt::device {

/// Calls work(item) for each item of this block. Between two items there is a barrier, since the next one reuses the
/// shared memory of the last.
/// @return whether the workspace holds a plan for this launch; if not, nothing else in it may be used
template <class Work>
__device__ __forceinline__ bool for_each_item(const PlanTables& plan, const Work& work) {
  WorkItem item = plan.items[blockIdx.x];  // asked for together with the header; used only if it is one
  const PlanHeader header = *plan.header;
  if (header.mark != plan.mark) return false;
  for (int i = static_cast<int>(blockIdx.x); i < header.num_items;) {
    work(item);
    i += static_cast<int>(gridDim.x);
    if (i < header.num_items) item = plan.items[i];
    __syncthreads();
  }
  return true;
}

/// A launch without a plan must not pass for one that has run: NaN in the rows of `heads` heads of every request.
/// @param out elements of 16 bits, [batch, num_heads, kHeadDim]
template <int kThreads, int kHeadDim>
__device__ __forceinline__ void write_nan_rows(const PlanTables& plan, void* out, float* lse, int num_heads,
                                               int first_head, int heads) {
  constexpr unsigned kTwoNaNs = 0x7fff7fff;  // of bf16 as of f16
  for (int request = static_cast<int>(blockIdx.x); request < plan.batch; request += static_cast<int>(gridDim.x)) {
    const Offset first = static_cast<Offset>(request) * num_heads + first_head;
    unsigned* const pairs = static_cast<unsigned*>(out) + first * (kHeadDim / 2);
    for (int i = static_cast<int>(threadIdx.x); i < heads * (kHeadDim / 2); i += kThreads) pairs[i] = kTwoNaNs;
    if (lse == nullptr) continue;
    for (int i = static_cast<int>(threadIdx.x); i < heads; i += kThreads) lse[first + i] = __int_as_float(0x7fffffff);
  }
}

}  // namespace librt::device
