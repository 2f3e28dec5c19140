// Where the row of a token lies: page table look-ups, once per row and one tile ahead.
#pragma once

#include "device/types.cuh"

namespace librt::device {

/// Byte offsets of one token's row in two paged tensors (K and V, or ckv and kpe).
struct __align__(16) RowSource {
  Offset first;
  Offset second;
};

/// Strides of a paged tensor in elements of two bytes.
struct PageStrides {
  Offset page;
  Offset token;

  __device__ __forceinline__ Offset bytes(int page_id, unsigned slot) const {
    return 2 * (static_cast<Offset>(page_id) * page + static_cast<Offset>(slot) * token);
  }
};

/// The pages of one work item.
template <int kPageSize>
struct PageTable {
  const int* ids;  // of the item's first page
  unsigned last;   // index of the last page that holds a valid position; of no use if there is none

  static __device__ __forceinline__ unsigned page(unsigned position) { return position / kPageSize; }
  static __device__ __forceinline__ unsigned slot(unsigned position) { return position % kPageSize; }

  /// Positions past the end look at the item's last page: the index is clamped before the load, so an entry that the
  /// request does not own is never read.
  __device__ __forceinline__ int id(unsigned position) const { return ids[min(page(position), last)]; }
};

}  // namespace librt::device
