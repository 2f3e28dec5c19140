// f32 and f64 arithmetic, comparisons and the approximations. Registers hold bit patterns; every operation states what
// it does with NaN (the canonical one comes out) and with subnormal numbers (.ftz: zero of the same sign, in and out).
#pragma once

#include "src/ptx/handlers/lanes.inl"

constexpr std::uint32_t kNan32 = 0x7fffffffu;
constexpr std::uint64_t kNan64 = 0xfff8000000000000u;

inline std::uint32_t flush(std::uint32_t bits) {
  return (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits;
}

template <bool ftz>
inline float read32(std::uint32_t bits) {
  return bits_to<float>(ftz ? flush(bits) : bits);
}

template <bool ftz, bool sat>
inline std::uint32_t write32(float value) {
  if constexpr (sat) {
    // A NaN fails both comparisons with "above" and so becomes +0, as .sat asks.
    const float low = value > 0.0f ? value : 0.0f;
    const float clamped = low < 1.0f ? low : 1.0f;
    const auto bits = bits_to<std::uint32_t>(clamped);
    return ftz ? flush(bits) : bits;
  } else {
    auto bits = bits_to<std::uint32_t>(value);
    bits = value != value ? kNan32 : bits;
    return ftz ? flush(bits) : bits;
  }
}

inline std::uint64_t write64(double value) {
  return value != value ? kNan64 : bits_to<std::uint64_t>(value);
}

/// The larger (smaller) operand as bits; +0 is above -0. A NaN loses unless `nan_wins`, then it is the result.
template <bool maximum, bool nan_wins, class Float, class Bits>
inline Bits extremum(Bits a_bits, Bits b_bits, Bits canonical) {
  const auto a = bits_to<Float>(a_bits), b = bits_to<Float>(b_bits);
  const Bits ordered = (maximum ? a > b : a < b) ? a_bits : b_bits;
  const Bits equal = maximum ? a_bits & b_bits : a_bits | b_bits;
  const Bits number = a == b ? equal : ordered;
  const bool a_nan = a != a, b_nan = b != b;
  if constexpr (nan_wins) return a_nan || b_nan ? canonical : number;
  const Bits one = a_nan ? b_bits : (b_nan ? a_bits : number);
  return a_nan && b_nan ? canonical : one;
}

template <Op op, bool ftz, bool sat>
void float32_binary(Warp& w, const Instruction& in, std::uint32_t mask) {
  binary<std::uint32_t, std::uint32_t, std::uint32_t>(w, in, mask, [](std::uint32_t a_bits, std::uint32_t b_bits) {
    const float a = read32<ftz>(a_bits), b = read32<ftz>(b_bits);
    if constexpr (op == Op::add) return write32<ftz, sat>(a + b);
    if constexpr (op == Op::sub) return write32<ftz, sat>(a - b);
    if constexpr (op == Op::mul) return write32<ftz, sat>(a * b);
    if constexpr (op == Op::div) return write32<ftz, sat>(a / b);
    if constexpr (op == Op::copysign) return (b_bits & 0x7fffffffu) | (a_bits & 0x80000000u);
  });
}

template <bool maximum, bool ftz, bool nan_wins>
void float32_extremum(Warp& w, const Instruction& in, std::uint32_t mask) {
  binary<std::uint32_t, std::uint32_t, std::uint32_t>(w, in, mask, [](std::uint32_t a, std::uint32_t b) {
    return extremum<maximum, nan_wins, float>(ftz ? flush(a) : a, ftz ? flush(b) : b, kNan32);
  });
}

template <bool ftz, bool sat>
void float32_fma(Warp& w, const Instruction& in, std::uint32_t mask) {
  ternary<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>(
      w, in, mask, [](std::uint32_t a, std::uint32_t b, std::uint32_t c) {
        return write32<ftz, sat>(__builtin_fmaf(read32<ftz>(a), read32<ftz>(b), read32<ftz>(c)));
      });
}

template <Op op>
void float64_binary(Warp& w, const Instruction& in, std::uint32_t mask) {
  binary<std::uint64_t, std::uint64_t, std::uint64_t>(w, in, mask, [](std::uint64_t a_bits, std::uint64_t b_bits) {
    const auto a = bits_to<double>(a_bits), b = bits_to<double>(b_bits);
    if constexpr (op == Op::add) return write64(a + b);
    if constexpr (op == Op::sub) return write64(a - b);
    if constexpr (op == Op::mul) return write64(a * b);
    if constexpr (op == Op::div) return write64(a / b);
    if constexpr (op == Op::min) return extremum<false, false, double>(a_bits, b_bits, kNan64);
    if constexpr (op == Op::max) return extremum<true, false, double>(a_bits, b_bits, kNan64);
    if constexpr (op == Op::copysign) return (b_bits & ~(std::uint64_t{1} << 63)) | (a_bits & (std::uint64_t{1} << 63));
  });
}

/// a + b in double with the last bit made odd if the sum is not exact, so that a second rounding is right.
inline double add_round_to_odd(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  auto bits = bits_to<std::uint64_t>(sum);
  if (error != 0.0 && error - error == 0.0 && (bits & 1) == 0)
    bits += (error > 0.0) == (sum > 0.0) ? 1 : std::uint64_t(-1);
  return bits_to<double>(bits);
}

/// Rounds an exact double to float in a direction; `round_to_nearest` results are corrected by one step.
template <Round round>
inline float narrow(double exact) {
  const float nearest = static_cast<float>(exact);
  if constexpr (round == Round::rn) return nearest;
  if (exact != exact || exact - exact != 0.0) return nearest;
  const auto wide = static_cast<double>(nearest);
  auto bits = bits_to<std::uint32_t>(nearest);
  const bool above = wide > exact, below = wide < exact;
  const bool negative = (bits & 0x80000000u) != 0;
  const bool down = round == Round::rm || (round == Round::rz && exact > 0.0);
  const bool up = round == Round::rp || (round == Round::rz && exact < 0.0);
  if (above && down) bits = negative ? bits + 1 : (bits == 0 ? 0x80000001u : bits - 1);
  if (below && up) bits = negative ? (bits == 0x80000000u ? 1u : bits - 1) : bits + 1;
  if (round == Round::rz && (bits & 0x7fffffffu) == 0) bits = __builtin_signbit(exact) ? 0x80000000u : 0u;
  return bits_to<float>(bits);
}

inline float narrow_by(Round round, double exact) {
  switch (round) {
    case Round::rz:
      return narrow<Round::rz>(exact);
    case Round::rm:
      return narrow<Round::rm>(exact);
    case Round::rp:
      return narrow<Round::rp>(exact);
    default:
      return narrow<Round::rn>(exact);
  }
}

/// add, sub, mul and fma that round in a direction: the exact result, with a sticky last bit in double, rounded once.
template <Op op>
void float32_directed(Warp& w, const Instruction& in, std::uint32_t mask) {
  const auto round = static_cast<Round>(in.conversion.round);
  const bool ftz = (in.flags & kFtz) != 0, sat = (in.flags & kSat) != 0;
  const auto read = [&](std::uint32_t offset, unsigned lane) {
    const auto bits = get<std::uint32_t>(w.registers + offset, lane);
    return static_cast<double>(bits_to<float>(ftz ? flush(bits) : bits));
  };
  for_lanes<std::uint32_t>(w, in.d, mask, [&](unsigned lane) {
    double a = read(in.a, lane), b = read(in.b, lane);
    double exact = 0.0;
    if constexpr (op == Op::div) {
      exact = a / b;
    } else {
      if (op == Op::mul || op == Op::fma) a *= b;
      if (op == Op::fma) b = read(in.c, lane);
      if (op == Op::sub) b = -b;
      exact = op == Op::mul ? a : add_round_to_odd(a, b);
      // A sum that cancels is -0 when rounding down.
      const bool cancels = op != Op::mul && exact == 0.0 && round == Round::rm &&
                           !(a == 0.0 && b == 0.0 && !__builtin_signbit(a) && !__builtin_signbit(b));
      if (cancels) exact = -0.0;
    }
    const float value = narrow_by(round, exact);
    if (sat) return ftz ? write32<true, true>(value) : write32<false, true>(value);
    return ftz ? write32<true, false>(value) : write32<false, false>(value);
  });
}

inline void float64_fma(Warp& w, const Instruction& in, std::uint32_t mask) {
  ternary<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>(
      w, in, mask, [](std::uint64_t a, std::uint64_t b, std::uint64_t c) {
        return write64(__builtin_fma(bits_to<double>(a), bits_to<double>(b), bits_to<double>(c)));
      });
}

// 2^x in double with plain multiplications and additions, so that every processor computes the same bits; its error is
// far below half a unit of the float it is rounded to.
inline float exp2_of(float x) {
  const double limited = x > 200.0f ? 200.0 : x < -200.0f ? -200.0 : static_cast<double>(x);
  constexpr double kToInteger = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to the nearest integer
  const double shifted = limited + kToInteger;
  const double whole = shifted - kToInteger;
  const double f = limited - whole;
  double p = 7.054911620801121e-09;
  p = p * f + 1.0178086009239699e-07;
  p = p * f + 1.3215486790144307e-06;
  p = p * f + 1.525273380405984e-05;
  p = p * f + 0.0001540353039338161;
  p = p * f + 0.0013333558146428443;
  p = p * f + 0.009618129107628477;
  p = p * f + 0.05550410866482158;
  p = p * f + 0.2402265069591007;
  p = p * f + 0.6931471805599453;
  p = p * f + 1.0;
  const std::uint64_t exponent = (bits_to<std::uint64_t>(shifted) + 1023) << 52;
  const auto result = static_cast<float>(p * bits_to<double>(exponent));
  return x != x ? x : result;
}

// log2 in double by the series of atanh, for the same reason.
inline float log2_of(float x) {
  const auto wide = static_cast<double>(x);
  const auto bits = bits_to<std::uint64_t>(wide);
  // The mantissa is taken from [sqrt(1/2), sqrt(2)), where the series converges fastest.
  const std::uint64_t shifted = bits + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  const auto exponent = static_cast<std::int32_t>(shifted >> 52) - 1023;
  const auto m = bits_to<double>((shifted & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double p = 1.0 / 23.0;
  p = p * z + 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  p = p * z + 1.0;
  const double result = static_cast<double>(exponent) + 2.8853900817779268 * s * p;
  float rounded = static_cast<float>(result);
  rounded = x == 0.0f ? -__builtin_inff() : rounded;
  rounded = x == __builtin_inff() ? x : rounded;
  return x < 0.0f || x != x ? __builtin_nanf("") : rounded;
}

template <Op op, bool ftz, bool sat>
void float32_unary(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, std::uint32_t>(w, in, mask, [](std::uint32_t bits) {
    const std::uint32_t flushed = ftz ? flush(bits) : bits;
    const auto a = bits_to<float>(flushed);
    if constexpr (op == Op::neg) return flushed ^ 0x80000000u;
    if constexpr (op == Op::abs) return flushed & 0x7fffffffu;
    if constexpr (op == Op::rcp) return write32<ftz, sat>(1.0f / a);
    if constexpr (op == Op::sqrt) return write32<ftz, sat>(__builtin_sqrtf(a));
    if constexpr (op == Op::rsqrt)
      return write32<ftz, sat>(static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(a))));
    if constexpr (op == Op::ex2) return write32<ftz, sat>(exp2_of(a));
    if constexpr (op == Op::lg2) return write32<ftz, sat>(log2_of(a));
    if constexpr (op == Op::sin) return write32<ftz, sat>(static_cast<float>(__builtin_sin(static_cast<double>(a))));
    if constexpr (op == Op::cos) return write32<ftz, sat>(static_cast<float>(__builtin_cos(static_cast<double>(a))));
    if constexpr (op == Op::tanh) return write32<ftz, sat>(static_cast<float>(__builtin_tanh(static_cast<double>(a))));
  });
}

template <Op op>
void float64_unary(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint64_t, std::uint64_t>(w, in, mask, [](std::uint64_t bits) {
    constexpr std::uint64_t sign = std::uint64_t{1} << 63;
    if constexpr (op == Op::neg) return bits ^ sign;
    if constexpr (op == Op::abs) return bits & ~sign;
    if constexpr (op == Op::rcp) return write64(1.0 / bits_to<double>(bits));
    if constexpr (op == Op::sqrt) return write64(__builtin_sqrt(bits_to<double>(bits)));
  });
}

template <Compare compare, class T>
inline bool holds(T a, T b) {
  if constexpr (compare == Compare::eq) return a == b;
  if constexpr (compare == Compare::lt) return a < b;
  if constexpr (compare == Compare::le) return a <= b;
  if constexpr (compare == Compare::gt) return a > b;
  if constexpr (compare == Compare::ge) return a >= b;
  if constexpr (compare == Compare::neu) return !(a == b);
  if constexpr (compare == Compare::ltu) return !(a >= b);
  if constexpr (compare == Compare::leu) return !(a > b);
  if constexpr (compare == Compare::gtu) return !(a <= b);
  if constexpr (compare == Compare::geu) return !(a < b);
  if constexpr (compare == Compare::ne) return a == a && b == b && a != b;
  if constexpr (compare == Compare::equ) return a != a || b != b || a == b;
  if constexpr (compare == Compare::num) return a == a && b == b;
  if constexpr (compare == Compare::nan) return a != a || b != b;
}

/// How a register is read for a comparison.
template <class T>
struct AsInteger {
  using Bits = T;
  static T read(T bits) { return bits; }
};
template <bool ftz>
struct AsFloat32 {
  using Bits = std::uint32_t;
  static float read(std::uint32_t bits) { return read32<ftz>(bits); }
};
struct AsFloat64 {
  using Bits = std::uint64_t;
  static double read(std::uint64_t bits) { return bits_to<double>(bits); }
};

template <Compare compare, class Reader>
inline std::uint32_t compare_lanes(const Warp& w, const Instruction& in) {
  using Bits = typename Reader::Bits;
  const std::byte* a = w.registers + in.a;
  const std::byte* b = w.registers + in.b;
  std::uint32_t bits[kLanes];
#pragma GCC ivdep
  for (unsigned i = 0; i < kLanes; ++i)
    bits[i] = (holds<compare>(Reader::read(get<Bits>(a, i)), Reader::read(get<Bits>(b, i))) ? 1u : 0u) << i;
  std::uint32_t all = 0;
  for (unsigned i = 0; i < kLanes; ++i) all |= bits[i];
  return all;
}

/// `immediate` holds the boolean operation with predicate c, and whether c is negated.
constexpr std::int64_t kCombineMask = 3, kCombineNegated = 4;

inline std::uint32_t combine(const Warp& w, const Instruction& in, std::uint32_t value) {
  const auto operation = static_cast<Combine>(in.immediate & kCombineMask);
  if (operation == Combine::none) return value;
  const std::uint32_t c = predicate(w, in.c) ^ ((in.immediate & kCombineNegated) != 0 ? kFullWarp : 0u);
  return operation == Combine::bool_and ? value & c : operation == Combine::bool_or ? value | c : value ^ c;
}

template <Compare compare, class Reader>
void set_predicate_by(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::uint32_t value = compare_lanes<compare, Reader>(w, in);
  const std::uint32_t first = combine(w, in, value);
  if (in.e != 0) {
    const std::uint32_t second = combine(w, in, ~value);
    set_predicate(w, in.d, first, mask);
    set_predicate(w, in.e, second, mask);
    return;
  }
  set_predicate(w, in.d, first, mask);
}

enum class Property : std::uint8_t { finite, infinite, number, notanumber, normal, subnormal };

/// testp: the property is in `immediate`.
template <class Bits, unsigned mantissa_bits>
void test_property(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::byte* a = w.registers + in.a;
  constexpr Bits kMantissa = (Bits{1} << mantissa_bits) - 1;
  constexpr Bits kExponent = (~Bits{0} >> 1) & ~kMantissa;
  const auto property = static_cast<Property>(in.immediate);
  set_predicate(w, in.d, lanes_where([=](unsigned i) {
                  const Bits bits = get<Bits>(a, i) & (~Bits{0} >> 1);
                  const Bits exponent = bits & kExponent, mantissa = bits & kMantissa;
                  switch (property) {
                    case Property::finite:
                      return exponent != kExponent;
                    case Property::infinite:
                      return bits == kExponent;
                    case Property::number:
                      return bits <= kExponent;
                    case Property::notanumber:
                      return bits > kExponent;
                    case Property::normal:
                      return exponent != 0 && exponent != kExponent;
                    case Property::subnormal:
                      return exponent == 0 && mantissa != 0;
                  }
                  return false;
                }),
                mask);
}
