// Element types as inline PTX: no CUDA header is needed, so nothing that a machine might lack.
#pragma once

namespace librt::device {

using Offset = long long;  // bytes or elements in global memory: page id times page stride passes 2^31

struct Bf16 {
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

}  // namespace librt::device
