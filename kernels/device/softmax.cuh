// The running softmax of one row: its largest logit, and sums of weights relative to it.
//
// "No logit yet" is a true -inf, never a large negative number: a finite stand-in would give weight to padding as soon
// as the valid logits are lower. The subtraction clamps to the largest finite number, so that -inf never meets -inf,
// while a NaN logit and +inf - +inf still come out as NaN.
#pragma once

#include "device/types.cuh"
#include "work.h"

namespace librt::device {

__device__ __forceinline__ float negative_infinity() {
  return __uint_as_float(0xff800000u);
}

__device__ __forceinline__ float lowest_finite(float value) {
  return fmaxf(value, -3.402823466e+38f);
}

__device__ __forceinline__ float power_of_two(float exponent) {
  float power;
  asm("ex2.approx.f32 %0, %1;" : "=f"(power) : "f"(exponent));
  return power;
}

__device__ __forceinline__ float log_natural(float x) {
  float log2;
  asm("lg2.approx.f32 %0, %1;" : "=f"(log2) : "f"(x));
  return log2 * 0.6931471805599453f;
}

/// The weights of a row with so many positions are in units of 2^exponent, so that they add up to less than 1: a sum of
/// weight * value then stays below the largest value, and within fp32. Values that end far below fp32 need no such unit,
/// and their type has no room for small weights.
template <class Elem>
__device__ __forceinline__ float weight_exponent(unsigned positions) {
  return Elem::kReachesEndOfFp32 ? static_cast<float>(__clz(static_cast<int>(positions)) - 32) : 0.0f;
}

/// A sum of weights in units of 1.
__device__ __forceinline__ float without_unit(float sum, float exponent) {
  return sum * power_of_two(-exponent);
}

/// e^(logit - reference), in units of 2^exponent. The reference must have passed lowest_finite.
__device__ __forceinline__ float weight(float logit, float reference, float exponent) {
  return power_of_two(fmaf(logit - reference, 1.4426950408889634f, exponent));
}

/// What sums relative to `old_max` are multiplied with to become relative to `new_max`.
__device__ __forceinline__ float rescale_factor(float old_max, float new_max) {
  return weight(lowest_finite(old_max), lowest_finite(new_max), 0.0f);
}

/// 0 for an empty row: its accumulators, all zero, then give an output of zero.
__device__ __forceinline__ float inverse_or_zero(float sum) {
  return sum == 0.0f ? 0.0f : 1.0f / sum;
}

__device__ __forceinline__ float log_sum_exp(float max, float sum) {
  return sum == 0.0f ? negative_infinity() : lowest_finite(max) + log_natural(sum);
}

/// A part that has positions gets a finite maximum even if all its logits are -inf or NaN, so that the merge looks at
/// its row: a NaN of V surfaces whatever its weight.
__device__ __forceinline__ PartialStats partial_stats(float max, float sum, bool has_positions) {
  return {has_positions ? lowest_finite(max) : negative_infinity(), sum};
}

/// The sum of a part's weights, relative to e^max.
__device__ __forceinline__ float merge_weight(const PartialStats& stats, float max) {
  return rescale_factor(stats.max, max) * stats.sum;
}

template <int kLanes>
__device__ __forceinline__ float max_over_lanes(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  return value;
}

template <int kLanes>
__device__ __forceinline__ float sum_over_lanes(float value) {
#pragma unroll
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

}  // namespace librt::device
