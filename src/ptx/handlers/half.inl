// f16 and bf16: conversions and arithmetic. Arithmetic goes through double and rounds once.
#pragma once

#include "src/ptx/handlers/float.inl"

constexpr std::uint16_t kNan16 = 0x7fff;

inline float f16_to_float(std::uint16_t half) {
  const std::uint32_t magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
  // The exponent is rebased by a multiplication, which also normalises subnormal halves.
  const auto scaled = bits_to<std::uint32_t>(bits_to<float>(magnitude << 13) * 5.192296858534828e+33f);
  const std::uint32_t special = (magnitude << 13) | 0x7f800000u;
  return bits_to<float>((magnitude >= 0x7c00u ? special : scaled) | sign);
}

inline float bf16_to_float(std::uint16_t half) {
  return bits_to<float>(static_cast<std::uint32_t>(half) << 16);
}

inline std::uint16_t float_to_bf16(float value) {
  const auto bits = bits_to<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<std::uint16_t>(value != value ? kNan16 : rounded);
}

inline std::uint16_t float_to_f16(float value) {
  const auto bits = bits_to<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Adding 0.5 puts the last bit of a subnormal half at the last bit of the sum.
  const std::uint32_t subnormal = bits_to<std::uint32_t>(bits_to<float>(magnitude) + 0.5f) - 0x3f000000u;
  std::uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
  result = magnitude >= 0x47800000u ? 0x7c00u : result;
  result = magnitude > 0x7f800000u ? 0x7fffu : result;
  return static_cast<std::uint16_t>(magnitude > 0x7f800000u ? result : result | sign);
}

struct Bfloat {
  static constexpr unsigned kMantissa = 7;
  static constexpr int kMinExponent = -126, kMaxExponent = 127;
  static constexpr std::uint16_t kInfinity = 0x7f80;
  static constexpr std::uint16_t kOne = 0x3f80;
  static float decode(std::uint16_t bits) { return bf16_to_float(bits); }
};

struct Half {
  static constexpr unsigned kMantissa = 10;
  static constexpr int kMinExponent = -14, kMaxExponent = 15;
  static constexpr std::uint16_t kInfinity = 0x7c00;
  static constexpr std::uint16_t kOne = 0x3c00;
  static float decode(std::uint16_t bits) { return f16_to_float(bits); }
};

/// Rounds once from double, to nearest even or towards zero. Works on the bits: no rounding mode of the host matters.
template <class Format>
__attribute__((noinline)) std::uint16_t encode16(double value, bool towards_zero) {
  const auto bits = bits_to<std::uint64_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 63) << 15);
  if (value != value) return kNan16;
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  if (exponent == 1024) return static_cast<std::uint16_t>(sign | Format::kInfinity);
  if (exponent < Format::kMinExponent - static_cast<int>(Format::kMantissa) - 1) return sign;
  const std::uint64_t mantissa = (bits & 0xfffffffffffffu) | 0x10000000000000u;
  const bool subnormal = exponent < Format::kMinExponent;
  const unsigned drop =
      52 - Format::kMantissa + (subnormal ? static_cast<unsigned>(Format::kMinExponent - exponent) : 0u);
  std::uint64_t kept = mantissa >> drop;
  const std::uint64_t rest = mantissa & ((std::uint64_t{1} << drop) - 1), half = std::uint64_t{1} << (drop - 1);
  if (!towards_zero && (rest > half || (rest == half && (kept & 1) != 0))) ++kept;
  // A carry out of the mantissa moves into the exponent field by itself.
  const std::uint64_t field =
      subnormal ? kept : kept + (static_cast<std::uint64_t>(exponent - Format::kMinExponent) << Format::kMantissa);
  if (field >= Format::kInfinity)
    return static_cast<std::uint16_t>(sign | (towards_zero ? Format::kInfinity - 1 : Format::kInfinity));
  return static_cast<std::uint16_t>(sign | field);
}

template <class Format>
inline double read16(std::uint16_t bits, bool ftz) {
  const bool subnormal = ftz && (bits & Format::kInfinity) == 0;
  return static_cast<double>(Format::decode(static_cast<std::uint16_t>(subnormal ? bits & 0x8000u : bits)));
}

template <class Format>
inline std::uint16_t write16(double value, std::uint8_t flags) {
  if ((flags & kSat) != 0) value = value > 0.0 ? (value < 1.0 ? value : 1.0) : 0.0;
  const std::uint16_t bits = encode16<Format>(value, false);
  return static_cast<std::uint16_t>((flags & kFtz) != 0 && (bits & Format::kInfinity) == 0 ? bits & 0x8000u : bits);
}

template <Op op, class Format>
__attribute__((noinline)) std::uint16_t half_binary(std::uint16_t a_bits, std::uint16_t b_bits, std::uint8_t flags) {
  const bool ftz = (flags & kFtz) != 0;
  const double a = read16<Format>(a_bits, ftz), b = read16<Format>(b_bits, ftz);
  if constexpr (op == Op::add) return write16<Format>(a + b, flags);
  if constexpr (op == Op::sub) return write16<Format>(a - b, flags);
  if constexpr (op == Op::mul) return write16<Format>(a * b, flags);
  if constexpr (op == Op::min || op == Op::max) {
    const auto a64 = bits_to<std::uint64_t>(a), b64 = bits_to<std::uint64_t>(b);
    const std::uint64_t bits = (flags & kNan) != 0 ? extremum<op == Op::max, true, double>(a64, b64, kNan64)
                                                   : extremum<op == Op::max, false, double>(a64, b64, kNan64);
    return write16<Format>(bits_to<double>(bits), flags);
  }
}

/// Applies f to the 16-bit word, or to both halves of the 32-bit word.
template <class Bits, class F, class... Operands>
inline Bits each_half(F f, Operands... operands) {
  const std::uint16_t low = f(static_cast<std::uint16_t>(operands)...);
  if constexpr (sizeof(Bits) == 2)
    return low;
  else
    return low | (static_cast<std::uint32_t>(f(static_cast<std::uint16_t>(operands >> 16)...)) << 16);
}

template <bool pair>
using HalfBits = std::conditional_t<pair, std::uint32_t, std::uint16_t>;

template <Op op, class Format, bool pair>
void half_arithmetic(Warp& w, const Instruction& in, std::uint32_t mask) {
  using Bits = HalfBits<pair>;
  const std::uint8_t flags = in.flags;
  binary<Bits, Bits, Bits>(w, in, mask, [flags](Bits a, Bits b) {
    return each_half<Bits>([flags](std::uint16_t x, std::uint16_t y) { return half_binary<op, Format>(x, y, flags); },
                           a, b);
  });
}

template <class Format>
__attribute__((noinline)) std::uint16_t half_fma_of(std::uint16_t a, std::uint16_t b, std::uint16_t c,
                                                    std::uint8_t flags) {
  const bool ftz = (flags & kFtz) != 0, relu = (flags & kRelu) != 0;
  const double product = read16<Format>(a, ftz) * read16<Format>(b, ftz);
  const double sum = add_round_to_odd(product, read16<Format>(c, ftz));
  const std::uint16_t bits = write16<Format>(sum, flags);
  return relu && (bits & 0x8000u) != 0 ? std::uint16_t{0} : bits;
}

template <class Format, bool pair>
void half_fma(Warp& w, const Instruction& in, std::uint32_t mask) {
  using Bits = HalfBits<pair>;
  const std::uint8_t flags = in.flags;
  ternary<Bits, Bits, Bits, Bits>(w, in, mask, [flags](Bits a, Bits b, Bits c) {
    const auto one = [flags](std::uint16_t x, std::uint16_t y, std::uint16_t z) {
      return half_fma_of<Format>(x, y, z, flags);
    };
    return each_half<Bits>(one, a, b, c);
  });
}

template <Op op, class Format, bool pair>
void half_sign(Warp& w, const Instruction& in, std::uint32_t mask) {
  using Bits = HalfBits<pair>;
  const bool ftz = (in.flags & kFtz) != 0;
  unary<Bits, Bits>(w, in, mask, [ftz](Bits a) {
    const auto one = [ftz](std::uint16_t x) {
      const unsigned magnitude = ftz && (x & Format::kInfinity) == 0 ? 0u : x & 0x7fffu, sign = x & 0x8000u;
      return static_cast<std::uint16_t>(op == Op::neg ? magnitude | (sign ^ 0x8000u) : magnitude);
    };
    return each_half<Bits>(one, a);
  });
}

template <Op op, class Format, bool pair>
void half_approximation(Warp& w, const Instruction& in, std::uint32_t mask) {
  using Bits = HalfBits<pair>;
  const std::uint8_t flags = in.flags;
  unary<Bits, Bits>(w, in, mask, [flags](Bits a) {
    const auto one = [flags](std::uint16_t bits) {
      const double x = read16<Format>(bits, (flags & kFtz) != 0);
      const double y = op == Op::ex2 ? static_cast<double>(exp2_of(static_cast<float>(x))) : __builtin_tanh(x);
      return write16<Format>(y, flags);
    };
    return each_half<Bits>(one, a);
  });
}

template <class Format, bool ftz>
struct AsHalf {
  using Bits = std::uint16_t;
  static float read(std::uint16_t bits) { return static_cast<float>(read16<Format>(bits, ftz)); }
};
