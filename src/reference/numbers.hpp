// 16-bit floating-point numbers on the host: bf16 and f16 as their bit patterns.
#pragma once

#include <librt/types.hpp>

#include <cstdint>

namespace librt::reference {

using Bits = std::uint16_t;

/// The exact value; NaN for every NaN pattern.
double to_double(Bits bits, DType dtype);

/// Rounds to nearest, ties to even; overflow gives an infinity, NaN the quiet NaN.
Bits to_bits(double value, DType dtype);

/// Bit patterns that a test writes where a number is expected.
struct SpecialBits {
  Bits quiet_nan, signalling_nan, infinity, largest, smallest_denormal;
};

SpecialBits special_bits(DType dtype);

constexpr Bits kSign = 0x8000;
constexpr Bits kNaN = 0x7fff;  ///< in bf16 and in f16

}  // namespace librt::reference
