// cvt.
#pragma once

#include "src/ptx/handlers/half.inl"

/// The common integer conversions: registers as wide as the types, no clamping.
template <class D, class S>
void integer_to_integer(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<D, S>(w, in, mask, [](S a) { return static_cast<D>(a); });
}

inline std::uint64_t read_register(const Warp& w, std::uint32_t offset, unsigned bytes, unsigned lane) {
  const std::byte* lanes = w.registers + offset;
  return bytes == 2   ? get<std::uint16_t>(lanes, lane)
         : bytes == 4 ? get<std::uint32_t>(lanes, lane)
                      : get<std::uint64_t>(lanes, lane);
}

inline void write_register(Warp& w, std::uint32_t offset, unsigned bytes, unsigned lane, std::uint64_t value) {
  std::byte* lanes = w.registers + offset;
  if (bytes == 2) put(lanes, lane, static_cast<std::uint16_t>(value));
  if (bytes == 4) put(lanes, lane, static_cast<std::uint32_t>(value));
  if (bytes == 8) put(lanes, lane, value);
}

/// An integer type told at run time.
struct IntegerType {
  unsigned bits;
  bool is_signed;
  std::int64_t low() const { return is_signed ? -(std::int64_t{1} << (bits - 2)) * 2 : 0; }
  std::uint64_t high() const { return ~std::uint64_t{0} >> (64 - bits + (is_signed ? 1u : 0u)); }
  /// The low bits of value, extended to 64 as the type says.
  std::uint64_t extend(std::uint64_t value) const {
    const std::uint64_t top = value << (64 - bits);
    return is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(top) >> (64 - bits)) : top >> (64 - bits);
  }
};

/// All other integer conversions; `conversion` describes them.
inline void any_integer_to_integer(Warp& w, const Instruction& in, std::uint32_t mask) {
  const Conversion& how = in.conversion;
  const IntegerType to{8u * bytes_of(how.to), is_signed(how.to)}, from{8u * bytes_of(how.from), is_signed(how.from)};
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    std::uint64_t value = from.extend(read_register(w, in.a, how.from_register, lane));
    const bool negative = from.is_signed && static_cast<std::int64_t>(value) < 0;
    if ((in.flags & kSat) != 0) {
      if (negative && static_cast<std::int64_t>(value) < to.low())
        value = static_cast<std::uint64_t>(to.low());
      else if (!negative && value > to.high())
        value = to.high();
    }
    write_register(w, in.d, how.to_register, lane, to.extend(value));
  }
}

template <class S>
void integer_to_float32(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, S>(w, in, mask, [](S a) { return bits_to<std::uint32_t>(static_cast<float>(a)); });
}

/// The magnitude as a double whose last bit is made odd where bits are lost, so that the next rounding is right.
inline double magnitude_round_to_odd(std::uint64_t magnitude) {
  if ((magnitude >> 53) == 0) return static_cast<double>(magnitude);
  const std::uint64_t lost = (magnitude & 0x7ffu) != 0 ? 1u : 0u;
  return static_cast<double>((magnitude >> 11) | lost) * 2048.0;
}

/// All integer conversions to f32, f16 and bf16 that have no handler of their own.
inline void any_integer_to_float(Warp& w, const Instruction& in, std::uint32_t mask) {
  const Conversion& how = in.conversion;
  const IntegerType from{8u * bytes_of(how.from), is_signed(how.from)};
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    const std::uint64_t value = from.extend(read_register(w, in.a, how.from_register, lane));
    const bool negative = from.is_signed && static_cast<std::int64_t>(value) < 0;
    const double magnitude = magnitude_round_to_odd(negative ? std::uint64_t{0} - value : value);
    const double exact = negative ? -magnitude : magnitude;
    std::uint64_t result = 0;
    if (how.to == Type::f32) result = bits_to<std::uint32_t>(narrow_by(static_cast<Round>(how.round), exact));
    if (how.to == Type::f16) result = encode16<Half>(exact, static_cast<Round>(how.round) == Round::rz);
    if (how.to == Type::bf16) result = encode16<Bfloat>(exact, static_cast<Round>(how.round) == Round::rz);
    if (how.to == Type::f64) result = bits_to<std::uint64_t>(negative ? -magnitude : magnitude);
    write_register(w, in.d, how.to_register, lane, result);
  }
}

template <class S>
void integer_to_float64(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint64_t, S>(w, in, mask, [](S a) { return bits_to<std::uint64_t>(static_cast<double>(a)); });
}

template <Round round, class T>
inline T integral(T value) {
  if constexpr (sizeof(T) == 4) {
    if constexpr (round == Round::rni) return __builtin_rintf(value);
    if constexpr (round == Round::rzi) return __builtin_truncf(value);
    if constexpr (round == Round::rmi) return __builtin_floorf(value);
    if constexpr (round == Round::rpi) return __builtin_ceilf(value);
  } else {
    if constexpr (round == Round::rni) return __builtin_rint(value);
    if constexpr (round == Round::rzi) return __builtin_trunc(value);
    if constexpr (round == Round::rmi) return __builtin_floor(value);
    if constexpr (round == Round::rpi) return __builtin_ceil(value);
  }
}

/// Out of range goes to the nearest bound, NaN to 0.
template <class D>
inline D clamp_to_integer(double value) {
  constexpr std::int64_t low = std::is_signed_v<D> ? -(std::int64_t{1} << (8 * sizeof(D) - 2)) * 2 : 0;
  constexpr std::uint64_t high = ~std::uint64_t{0} >> (64 - 8 * sizeof(D) + (std::is_signed_v<D> ? 1 : 0));
  if (value != value) return 0;
  if (value <= static_cast<double>(low)) return static_cast<D>(low);
  if (value >= static_cast<double>(high)) return static_cast<D>(high);
  return static_cast<D>(value);
}

template <class D, Round round>
void float32_to_integer(Warp& w, const Instruction& in, std::uint32_t mask) {
  const bool ftz = (in.flags & kFtz) != 0;
  unary<D, std::uint32_t>(w, in, mask, [ftz](std::uint32_t a) {
    return clamp_to_integer<D>(static_cast<double>(integral<round>(bits_to<float>(ftz ? flush(a) : a))));
  });
}

inline double integral_by(Round round, double value) {
  switch (round) {
    case Round::rni:
      return integral<Round::rni>(value);
    case Round::rmi:
      return integral<Round::rmi>(value);
    case Round::rpi:
      return integral<Round::rpi>(value);
    default:
      return integral<Round::rzi>(value);
  }
}

inline double read_float(Type type, std::uint64_t bits, bool ftz) {
  switch (type) {
    case Type::f32: {
      const auto word = static_cast<std::uint32_t>(bits);
      return static_cast<double>(bits_to<float>(ftz ? flush(word) : word));
    }
    case Type::f16:
      return static_cast<double>(f16_to_float(static_cast<std::uint16_t>(bits)));
    case Type::bf16:
      return static_cast<double>(bf16_to_float(static_cast<std::uint16_t>(bits)));
    default:
      return bits_to<double>(bits);
  }
}

/// Any floating type to any integer type.
inline void any_float_to_integer(Warp& w, const Instruction& in, std::uint32_t mask) {
  const Conversion& how = in.conversion;
  const IntegerType to{8u * bytes_of(how.to), is_signed(how.to)};
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    const double exact = read_float(how.from, read_register(w, in.a, how.from_register, lane), (in.flags & kFtz) != 0);
    const double value = integral_by(static_cast<Round>(how.round), exact);
    std::uint64_t result;
    if (value != value)
      // NaN: 0 between small types, the lowest signed value where a 64-bit type takes part.
      result = bytes_of(how.to) == 8 || how.from == Type::f64 ? std::uint64_t{1} << (to.bits - 1) : 0;
    else if (value <= static_cast<double>(to.low()))
      result = static_cast<std::uint64_t>(to.low());
    else if (value >= static_cast<double>(to.high()))
      result = to.high();
    else
      result = to.is_signed ? static_cast<std::uint64_t>(static_cast<std::int64_t>(value))
                            : static_cast<std::uint64_t>(value);
    write_register(w, in.d, how.to_register, lane, to.extend(result));
  }
}

template <Round round, bool ftz, bool sat>
void float32_to_integral(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, std::uint32_t>(w, in, mask, [](std::uint32_t a) {
    const float value = read32<ftz>(a);
    if constexpr (round == Round::none)
      return write32<ftz, sat>(value);
    else
      return write32<ftz, sat>(integral<round>(value));
  });
}

template <Round round>
void float64_to_integral(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint64_t, std::uint64_t>(w, in, mask,
                                      [](std::uint64_t a) { return write64(integral<round>(bits_to<double>(a))); });
}

template <bool ftz>
void float32_to_float64(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint64_t, std::uint32_t>(w, in, mask,
                                      [](std::uint32_t a) { return write64(static_cast<double>(read32<ftz>(a))); });
}

template <Round round, bool ftz, bool sat>
void float64_to_float32(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, std::uint64_t>(
      w, in, mask, [](std::uint64_t a) { return write32<ftz, sat>(narrow<round>(bits_to<double>(a))); });
}

template <class Format, bool ftz, bool sat>
void half_to_float32(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, std::uint16_t>(w, in, mask,
                                      [](std::uint16_t a) { return write32<ftz, sat>(Format::decode(a)); });
}

template <class Format>
void half_to_float64(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint64_t, std::uint16_t>(w, in, mask,
                                      [](std::uint16_t a) { return write64(static_cast<double>(Format::decode(a))); });
}

template <class Format, bool towards_zero>
inline std::uint16_t float_to_half(float value) {
  if constexpr (towards_zero)
    return encode16<Format>(static_cast<double>(value), true);
  else if constexpr (std::is_same_v<Format, Bfloat>)
    return float_to_bf16(value);
  else
    return float_to_f16(value);
}

template <class Format, bool towards_zero>
void float32_to_half(Warp& w, const Instruction& in, std::uint32_t mask) {
  const bool ftz = (in.flags & kFtz) != 0, sat = (in.flags & kSat) != 0, relu = (in.flags & kRelu) != 0;
  unary<std::uint16_t, std::uint32_t>(w, in, mask, [=](std::uint32_t a) {
    const std::uint16_t bits = float_to_half<Format, towards_zero>(bits_to<float>(ftz ? flush(a) : a));
    std::uint16_t result = (relu || sat) && (bits & 0x8000u) != 0 ? std::uint16_t{0} : bits;
    if (sat) result = result > Format::kInfinity ? std::uint16_t{0} : result > Format::kOne ? Format::kOne : result;
    return result;
  });
}

template <class Format, bool towards_zero>
void float64_to_half(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint16_t, std::uint64_t>(
      w, in, mask, [](std::uint64_t a) { return encode16<Format>(bits_to<double>(a), towards_zero); });
}

/// The first source goes to the upper half.
template <class Format, bool towards_zero>
void float32_pair_to_half(Warp& w, const Instruction& in, std::uint32_t mask) {
  const bool relu = (in.flags & kRelu) != 0;
  binary<std::uint32_t, std::uint32_t, std::uint32_t>(w, in, mask, [relu](std::uint32_t a, std::uint32_t b) {
    std::uint32_t high = float_to_half<Format, towards_zero>(bits_to<float>(a));
    std::uint32_t low = float_to_half<Format, towards_zero>(bits_to<float>(b));
    high = relu && (high & 0x8000u) != 0 ? 0u : high;
    low = relu && (low & 0x8000u) != 0 ? 0u : low;
    return (high << 16) | low;
  });
}

template <class From, class To>
void half_to_half(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint16_t, std::uint16_t>(
      w, in, mask, [](std::uint16_t a) { return encode16<To>(static_cast<double>(From::decode(a)), false); });
}

template <class Format, Round round>
void half_to_integral(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint16_t, std::uint16_t>(w, in, mask, [](std::uint16_t a) {
    return encode16<Format>(static_cast<double>(integral<round>(Format::decode(a))), false);
  });
}

/// To 10 mantissa bits; rna rounds ties away from zero.
template <Round round, bool relu>
void float32_to_tf32(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, std::uint32_t>(w, in, mask, [](std::uint32_t a) {
    if ((a & 0x7fffffffu) > 0x7f800000u) return kNan32;
    if (relu && (a & 0x80000000u) != 0) return 0u;
    if ((a & 0x7f800000u) == 0x7f800000u) return a;
    const std::uint32_t step = round == Round::rna ? 0x1000u : round == Round::rn ? 0xfffu + ((a >> 13) & 1u) : 0u;
    return (a + step) & ~0x1fffu;
  });
}
