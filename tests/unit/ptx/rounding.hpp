// Expected results of floating-point instructions, worked out in wider arithmetic and rounded once.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {

enum class Rounding { nearest, zero, down, up };

/// Moves a nearest-rounded value one step when `mode` asks for the other neighbour of `exact`.
template <class T>
T rounded(long double exact, Rounding mode) {
  const T near = static_cast<T>(exact);
  const T infinity = std::numeric_limits<T>::infinity();
  const bool above = near > exact, below = near < exact;
  switch (mode) {
    case Rounding::nearest:
      return near;
    case Rounding::zero:
      return (exact > 0 ? above : below) ? std::nextafter(near, T{0}) : near;
    case Rounding::down:
      return above ? std::nextafter(near, -infinity) : near;
    case Rounding::up:
      return below ? std::nextafter(near, infinity) : near;
  }
  return near;
}

/// A binary format by its numbers: f16 is {10, -14, 15}, bf16 {7, -126, 127}.
struct Format {
  int fraction_bits;
  int min_exponent;
  int max_exponent;
};
constexpr Format kF16{10, -14, 15};
constexpr Format kBf16{7, -126, 127};

/// Bits of `exact` in `format`, rounded to nearest even (or to zero), subnormals kept, NaN canonical.
inline Word encode(long double exact, const Format& format, Rounding mode = Rounding::nearest) {
  const Word sign = std::signbit(exact) ? 0x8000 : 0;
  const Word infinity = static_cast<Word>(format.max_exponent - format.min_exponent + 2) << format.fraction_bits;
  if (std::isnan(exact)) return kNanHalf;
  const long double magnitude = std::fabs(exact);
  if (std::isinf(magnitude)) return sign | infinity;
  if (magnitude == 0) return sign;
  int exponent = std::ilogb(magnitude);
  if (exponent < format.min_exponent) exponent = format.min_exponent;
  // The value in units of the last place; both steps are exact.
  const long double units = std::ldexp(magnitude, format.fraction_bits - exponent);
  const long double whole = std::floor(units), rest = units - whole;
  auto integer = static_cast<Word>(whole);
  if (mode == Rounding::nearest && (rest > 0.5L || (rest == 0.5L && integer % 2 == 1))) ++integer;
  // A carry out of the fraction runs into the exponent field, as the encoding is made for.
  const Word base = static_cast<Word>(exponent - format.min_exponent) << format.fraction_bits;
  const Word encoded = base + integer;
  if (encoded >= infinity) return sign | (mode == Rounding::nearest ? infinity : infinity - 1);
  return sign | encoded;
}

inline long double decode(Word word, const Format& format) {
  const int exponent_mask = format.max_exponent - format.min_exponent + 2;
  const Word fraction_mask = (Word{1} << format.fraction_bits) - 1;
  const int exponent = static_cast<int>((word & 0x7fff) >> format.fraction_bits);
  const auto fraction = static_cast<long double>(word & fraction_mask);
  long double value;
  if (exponent == exponent_mask) {
    value = (word & fraction_mask) != 0 ? std::numeric_limits<long double>::quiet_NaN()
                                        : std::numeric_limits<long double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, format.min_exponent - format.fraction_bits);
  } else {
    value = std::ldexp(fraction + std::ldexp(1.0L, format.fraction_bits),
                       exponent - 1 + format.min_exponent - format.fraction_bits);
  }
  return (word & 0x8000) != 0 ? -value : value;
}

}  // namespace librt::ptx::test
