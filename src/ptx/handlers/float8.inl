// e4m3 and e5m2, always in pairs: conversions from f32 and f16, which saturate, and to f16, which are exact.
#pragma once

#include "src/ptx/handlers/half.inl"

constexpr std::uint8_t kNan8 = 0x7f;

struct E4m3 {
  static constexpr unsigned kMantissa = 3;
  static constexpr int kMinExponent = -6;
  static constexpr std::uint8_t kMost = 0x7e;  // 448; the only other pattern is NaN
  static std::uint16_t to_f16(std::uint8_t bits) {
    const std::uint32_t magnitude = bits & 0x7fu, sign = (bits & 0x80u) << 8;
    if (magnitude == kNan8) return kNan16;
    // The exponent is rebased by a multiplication, which also normalises subnormals.
    const float value = bits_to<float>(magnitude << 20) * 1.329227995784916e+36f;
    return static_cast<std::uint16_t>(float_to_f16(value) | sign);
  }
};

struct E5m2 {
  static constexpr unsigned kMantissa = 2;
  static constexpr int kMinExponent = -14;
  static constexpr std::uint8_t kMost = 0x7b;  // 57344
  /// The upper half of an f16.
  static std::uint16_t to_f16(std::uint8_t bits) {
    return (bits & 0x7fu) > 0x7cu ? kNan16 : static_cast<std::uint16_t>(bits << 8);
  }
};

/// Rounds to nearest even; beyond the largest number, infinity included, is the largest number.
template <class Format>
inline std::uint8_t float_to_float8(float value, bool relu) {
  const auto bits = bits_to<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 24) & 0x80u;
  if (value != value) return kNan8;
  if (relu && sign != 0) return 0;
  const int exponent = static_cast<int>((bits >> 23) & 0xffu) - 127;
  if (exponent < Format::kMinExponent - static_cast<int>(Format::kMantissa) - 1) return static_cast<std::uint8_t>(sign);
  const std::uint32_t mantissa = (bits & 0x7fffffu) | 0x800000u;
  const bool subnormal = exponent < Format::kMinExponent;
  const unsigned drop =
      23 - Format::kMantissa + (subnormal ? static_cast<unsigned>(Format::kMinExponent - exponent) : 0u);
  std::uint32_t kept = mantissa >> drop;
  const std::uint32_t rest = mantissa & ((1u << drop) - 1), half = 1u << (drop - 1);
  if (rest > half || (rest == half && (kept & 1u) != 0)) ++kept;
  // A carry out of the mantissa moves into the exponent field by itself.
  if (!subnormal) kept += static_cast<std::uint32_t>(exponent - Format::kMinExponent) << Format::kMantissa;
  return static_cast<std::uint8_t>(sign | (kept > Format::kMost ? Format::kMost : kept));
}

template <class Format>
void float32_pair_to_float8(Warp& w, const Instruction& in, std::uint32_t mask) {
  const bool relu = (in.flags & kRelu) != 0;
  binary<std::uint16_t, std::uint32_t, std::uint32_t>(w, in, mask, [relu](std::uint32_t a, std::uint32_t b) {
    return float_to_float8<Format>(bits_to<float>(a), relu) << 8 | float_to_float8<Format>(bits_to<float>(b), relu);
  });
}

template <class Format>
void half_pair_to_float8(Warp& w, const Instruction& in, std::uint32_t mask) {
  const bool relu = (in.flags & kRelu) != 0;
  unary<std::uint16_t, std::uint32_t>(w, in, mask, [relu](std::uint32_t a) {
    return float_to_float8<Format>(f16_to_float(static_cast<std::uint16_t>(a >> 16)), relu) << 8 |
           float_to_float8<Format>(f16_to_float(static_cast<std::uint16_t>(a)), relu);
  });
}

template <class Format>
void float8_pair_to_half(Warp& w, const Instruction& in, std::uint32_t mask) {
  const bool relu = (in.flags & kRelu) != 0;
  unary<std::uint32_t, std::uint16_t>(w, in, mask, [relu](std::uint16_t a) {
    std::uint32_t high = Format::to_f16(static_cast<std::uint8_t>(a >> 8));
    std::uint32_t low = Format::to_f16(static_cast<std::uint8_t>(a));
    high = relu && (high & 0x8000u) != 0 ? 0u : high;
    low = relu && (low & 0x8000u) != 0 ? 0u : low;
    return high << 16 | low;
  });
}
