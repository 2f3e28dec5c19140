// Element types as inline PTX: no CUDA header is needed, so nothing that a machine might lack.
#pragma once

namespace librt::device {

using Offset = long long;  // bytes or elements in global memory: page id times page stride passes 2^31

struct Bf16 {
  enum : bool { kReachesEndOfFp32 = true };  // a sum of two values can be too large for fp32

  static __device__ __forceinline__ float largest() { return __uint_as_float(0x7f7f0000u); }
  /// Rounds two numbers to nearest even; `low` goes to the lower address.
  static __device__ __forceinline__ unsigned pack(float low, float high) {
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }
  static __device__ __forceinline__ float low(unsigned packed) { return __uint_as_float(packed << 16); }
  static __device__ __forceinline__ float high(unsigned packed) { return __uint_as_float(packed & 0xffff0000u); }
};

struct F16 {
  enum : bool { kReachesEndOfFp32 = false };

  static __device__ __forceinline__ float largest() { return 65504.0f; }
  static __device__ __forceinline__ unsigned pack(float low, float high) {
    unsigned packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
  }
  static __device__ __forceinline__ float low(unsigned packed) {
    return widen(static_cast<unsigned short>(packed & 0xffffu));
  }
  static __device__ __forceinline__ float high(unsigned packed) {
    return widen(static_cast<unsigned short>(packed >> 16));
  }

 private:
  static __device__ __forceinline__ float widen(unsigned short half) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(half));
    return wide;
  }
};

/// The mean of finite values lies among them; only what was rounded on the way can carry it past the largest number,
/// and it does not end as an infinity. Inf and NaN stay what they are.
template <class Elem>
__device__ __forceinline__ float within_range(float mean) {
  const float clamped = fminf(fmaxf(mean, -Elem::largest()), Elem::largest());
  return fabsf(mean) <= 3.402823466e+38f ? clamped : mean;
}

/// The same for many: a look at the largest of them costs less than a choice for each.
template <class Elem, int kCount>
__device__ __forceinline__ void keep_in_range(float (&means)[kCount][4]) {
  float largest = 0.0f;
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) largest = fmaxf(largest, fabsf(means[n][i]));
  }
  if (largest <= Elem::largest()) return;
#pragma unroll
  for (int n = 0; n < kCount; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) means[n][i] = within_range<Elem>(means[n][i]);
  }
}

/// Four numbers of a result.
template <class Elem>
__device__ __forceinline__ uint2 pack_means(const float4& means) {
  return make_uint2(Elem::pack(within_range<Elem>(means.x), within_range<Elem>(means.y)),
                    Elem::pack(within_range<Elem>(means.z), within_range<Elem>(means.w)));
}

}  // namespace librt::device
