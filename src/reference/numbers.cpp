#include "src/reference/numbers.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace librt::reference {
namespace {

struct Format {
  int mantissa_bits;
  int bias;
};

constexpr Format format_of(DType dtype) {
  return dtype == DType::bf16 ? Format{7, 127} : Format{10, 15};
}

constexpr unsigned infinity_pattern(Format format) {
  return static_cast<unsigned>(2 * format.bias + 1) << format.mantissa_bits;
}

double decode(unsigned bits, Format format) {
  const unsigned magnitude = bits & 0x7fffU;
  const double sign = (bits & kSign) != 0 ? -1.0 : 1.0;
  if (magnitude > infinity_pattern(format)) return std::numeric_limits<double>::quiet_NaN();
  if (magnitude == infinity_pattern(format)) return sign * std::numeric_limits<double>::infinity();
  const unsigned hidden = 1U << format.mantissa_bits;
  const int exponent = static_cast<int>(magnitude / hidden);
  const unsigned significand = exponent == 0 ? magnitude : magnitude % hidden + hidden;
  return sign * std::ldexp(significand, (exponent == 0 ? 1 : exponent) - format.bias - format.mantissa_bits);
}

std::vector<double> decode_all(Format format) {
  std::vector<double> values(1U << 16);
  for (unsigned bits = 0; bits < values.size(); ++bits) values[bits] = decode(bits, format);
  return values;
}

}  // namespace

double to_double(Bits bits, DType dtype) {
  static const std::vector<double> bf16 = decode_all(format_of(DType::bf16));
  static const std::vector<double> f16 = decode_all(format_of(DType::f16));
  return (dtype == DType::bf16 ? bf16 : f16)[bits];
}

Bits to_bits(double value, DType dtype) {
  const Format format = format_of(dtype);
  if (std::isnan(value)) return special_bits(dtype).quiet_nan;
  const unsigned sign = std::signbit(value) ? kSign : 0U;
  const double magnitude = std::fabs(value);
  if (magnitude == 0) return static_cast<Bits>(sign);
  if (std::isinf(magnitude)) return static_cast<Bits>(sign | infinity_pattern(format));
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // Patterns of one sign are in the order of their values, so that a carry out of the mantissa needs no special case.
  const int biased = exponent - 1 + format.bias > 1 ? exponent - 1 + format.bias : 1;
  if (biased > 2 * format.bias) return static_cast<Bits>(sign | infinity_pattern(format));
  const double units = std::nearbyint(std::ldexp(magnitude, format.mantissa_bits + format.bias - biased));
  const unsigned pattern = (static_cast<unsigned>(biased - 1) << format.mantissa_bits) + static_cast<unsigned>(units);
  return static_cast<Bits>(sign | pattern);
}

SpecialBits special_bits(DType dtype) {
  const Format format = format_of(dtype);
  const unsigned infinity = infinity_pattern(format);
  return {.quiet_nan = static_cast<Bits>(infinity | 1U << (format.mantissa_bits - 1)),
          .signalling_nan = static_cast<Bits>(infinity | 1U),
          .infinity = static_cast<Bits>(infinity),
          .largest = static_cast<Bits>(infinity - 1),
          .smallest_denormal = 1};
}

}  // namespace librt::reference
