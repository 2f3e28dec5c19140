// Launch parameters of merge_states: host and device, builtin types only.
// Pointers are device pointers. Strides count elements of the tensor, not bytes.
#pragma once

#include "work.h"

namespace librt {

/// merge_states: combines the partial rows of each request that was split; the other requests' rows are not touched.
struct MergeParams {
  PlanTables plan;
  void* out;   // [batch, num_heads, head_dim]
  float* lse;  // [batch, num_heads]; may be null
  int num_heads;
};

}  // namespace librt

namespace librt::tiles {

constexpr int merge_threads() {
  return 256;
}

}  // namespace librt::tiles
