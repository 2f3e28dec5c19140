// 16-bit element types on the host.
#pragma once

#include <librt/types.hpp>

#include <bit>
#include <cmath>
#include <cstdint>

namespace librt::tool {

inline double to_double(DType dtype, std::uint16_t bits) {
  if (dtype == DType::bf16) return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return fraction == 0 ? sign * HUGE_VAL : std::nan("");
  // A subnormal has no implicit leading one, and the exponent of the smallest normal number.
  return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(fraction + 1024, exponent - 25);
}

inline bool is_nan(DType dtype, std::uint16_t bits) {
  return dtype == DType::bf16 ? (bits & 0x7fff) > 0x7f80 : (bits & 0x7fff) > 0x7c00;
}

/// bf16 of a finite number, rounded to nearest even.
inline std::uint16_t bf16_from(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline constexpr std::uint16_t kQuietNan = 0x7fff;  // in bf16 and in f16

}  // namespace librt::tool
