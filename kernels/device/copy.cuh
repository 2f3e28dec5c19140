// Moving 16-byte pieces: global to shared memory in the background, shared memory to matrix fragments.
#pragma once

namespace librt::device {

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// Starts a copy of 16 bytes.
__device__ __forceinline__ void copy16(unsigned shared, const void* global) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}

/// Starts a copy of the first `source_bytes` (0 or 16) bytes and writes zeros to the rest of the 16. With 0 the global
/// address is not read, and the zeros still replace what an earlier tile, or another kernel, has left in this place.
__device__ __forceinline__ void copy16_or_zero(unsigned shared, const void* global, int source_bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(source_bytes)
               : "memory");
}

/// How a block shares the 16-byte pieces of rows: in each pass every thread takes one, neighbours along a row.
template <int kThreads, int kRowPieces>
struct PieceShare {
  enum : bool { kColumnIsFixed = kThreads % kRowPieces == 0 };  // then the divisions are done once, not in each pass

  static __device__ __forceinline__ unsigned row(unsigned pass) {
    if constexpr (kColumnIsFixed) return threadIdx.x / kRowPieces + pass * (kThreads / kRowPieces);
    return (threadIdx.x + pass * kThreads) / kRowPieces;
  }
  /// First byte of the piece in its row.
  static __device__ __forceinline__ unsigned offset(unsigned pass) {
    if constexpr (kColumnIsFixed) return threadIdx.x % kRowPieces * 16;
    return (threadIdx.x + pass * kThreads) % kRowPieces * 16;
  }
};

/// Ends a group of copies; an empty group is allowed and keeps the count of groups regular.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/// Waits until at most `kPending` of this thread's groups are under way. Other threads' copies need a barrier as well.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

/// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l%8 of matrix l/8.
__device__ __forceinline__ void load_matrices(unsigned (&fragment)[4], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared)
               : "memory");
}

/// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&fragment)[4], unsigned shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared)
               : "memory");
}

}  // namespace librt::device
