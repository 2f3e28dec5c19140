// Integer and bit instructions.
#pragma once

#include "src/ptx/handlers/lanes.inl"

template <class T>
struct Wider;
template <>
struct Wider<std::uint16_t> {
  using type = std::uint32_t;
};
template <>
struct Wider<std::int16_t> {
  using type = std::int32_t;
};
template <>
struct Wider<std::uint32_t> {
  using type = std::uint64_t;
};
template <>
struct Wider<std::int32_t> {
  using type = std::int64_t;
};
__extension__ typedef unsigned __int128 Unsigned128;
__extension__ typedef __int128 Signed128;
template <>
struct Wider<std::uint64_t> {
  using type = Unsigned128;
};
template <>
struct Wider<std::int64_t> {
  using type = Signed128;
};

// Arithmetic is done in an unsigned type of at least 32 bits, in which it wraps.
template <class T>
using Wrap = std::conditional_t<(sizeof(T) < 4), std::uint32_t, std::make_unsigned_t<T>>;

template <class T>
constexpr unsigned kBits = 8 * sizeof(T);

template <Op op, class T>
struct IntegerBinary {
  T operator()(T a, T b) const {
    using U = Wrap<T>;
    using W = typename Wider<T>::type;
    if constexpr (op == Op::add) return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
    if constexpr (op == Op::sub) return static_cast<T>(static_cast<U>(a) - static_cast<U>(b));
    if constexpr (op == Op::mul_lo) return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
    if constexpr (op == Op::mul_hi) return static_cast<T>((static_cast<W>(a) * static_cast<W>(b)) >> kBits<T>);
    if constexpr (op == Op::min) return a < b ? a : b;
    if constexpr (op == Op::max) return a < b ? b : a;
    if constexpr (op == Op::bit_and) return static_cast<T>(a & b);
    if constexpr (op == Op::bit_or) return static_cast<T>(a | b);
    if constexpr (op == Op::bit_xor) return static_cast<T>(a ^ b);
    // Division by zero gives all ones and leaves the dividend as the remainder, as devices do.
    if constexpr (op == Op::div) {
      if (b == 0) return static_cast<T>(~U{0});
      if constexpr (std::is_signed_v<T>)
        if (b == -1) return static_cast<T>(U{0} - static_cast<U>(a));
      return static_cast<T>(a / b);
    }
    if constexpr (op == Op::rem) {
      if (b == 0) return a;
      if constexpr (std::is_signed_v<T>)
        if (b == -1) return 0;
      return static_cast<T>(a % b);
    }
  }
};

template <Op op, class T>
void integer_binary(Warp& w, const Instruction& in, std::uint32_t mask) {
  binary<T, T, T>(w, in, mask, IntegerBinary<op, T>{});
}

/// Bounds of the narrower type, reached instead of wrapping: only s32 has it.
template <Op op>
void saturating_binary(Warp& w, const Instruction& in, std::uint32_t mask) {
  binary<std::int32_t, std::int32_t, std::int32_t>(w, in, mask, [](std::int32_t a, std::int32_t b) {
    const std::int64_t exact = op == Op::add ? std::int64_t{a} + b : std::int64_t{a} - b;
    return exact > INT32_MAX ? INT32_MAX : exact < INT32_MIN ? INT32_MIN : static_cast<std::int32_t>(exact);
  });
}

template <class T>
void multiply_wide(Warp& w, const Instruction& in, std::uint32_t mask) {
  using W = typename Wider<T>::type;
  binary<W, T, T>(w, in, mask, [](T a, T b) {
    return static_cast<W>(static_cast<std::make_unsigned_t<W>>(static_cast<W>(a)) *
                          static_cast<std::make_unsigned_t<W>>(static_cast<W>(b)));
  });
}

template <class T>
void multiply_add_wide(Warp& w, const Instruction& in, std::uint32_t mask) {
  using W = typename Wider<T>::type;
  using U = std::make_unsigned_t<W>;
  ternary<W, T, T, W>(w, in, mask, [](T a, T b, W c) {
    return static_cast<W>(static_cast<U>(static_cast<W>(a)) * static_cast<U>(static_cast<W>(b)) + static_cast<U>(c));
  });
}

template <Op op, class T>
void multiply_add(Warp& w, const Instruction& in, std::uint32_t mask) {
  using U = Wrap<T>;
  constexpr Op product = op == Op::mad_lo ? Op::mul_lo : Op::mul_hi;
  ternary<T, T, T, T>(w, in, mask, [](T a, T b, T c) {
    return static_cast<T>(static_cast<U>(IntegerBinary<product, T>{}(a, b)) + static_cast<U>(c));
  });
}

template <class T>
void sum_of_differences(Warp& w, const Instruction& in, std::uint32_t mask) {
  using U = Wrap<T>;
  ternary<T, T, T, T>(w, in, mask, [](T a, T b, T c) {
    const U difference = a < b ? static_cast<U>(b) - static_cast<U>(a) : static_cast<U>(a) - static_cast<U>(b);
    return static_cast<T>(static_cast<U>(c) + difference);
  });
}

template <Op op, class T>
void integer_unary(Warp& w, const Instruction& in, std::uint32_t mask) {
  using U = Wrap<T>;
  unary<T, T>(w, in, mask, [](T a) {
    if constexpr (op == Op::neg) return static_cast<T>(U{0} - static_cast<U>(a));
    if constexpr (op == Op::abs) return a < 0 ? static_cast<T>(U{0} - static_cast<U>(a)) : a;
    if constexpr (op == Op::bit_not) return static_cast<T>(~a);
    if constexpr (op == Op::cnot) return static_cast<T>(a == 0 ? 1 : 0);
    if constexpr (op == Op::brev) {
      std::uint64_t v = a;
      v = ((v >> 1) & 0x5555555555555555u) | ((v & 0x5555555555555555u) << 1);
      v = ((v >> 2) & 0x3333333333333333u) | ((v & 0x3333333333333333u) << 2);
      v = ((v >> 4) & 0x0f0f0f0f0f0f0f0fu) | ((v & 0x0f0f0f0f0f0f0f0fu) << 4);
      return static_cast<T>(__builtin_bswap64(v) >> (64 - kBits<T>));
    }
  });
}

/// Shift amounts are clamped to the width.
template <Op op, class T>
void shift(Warp& w, const Instruction& in, std::uint32_t mask) {
  binary<T, T, std::uint32_t>(w, in, mask, [](T a, std::uint32_t n) -> T {
    if constexpr (op == Op::shl) {
      const T shifted = static_cast<T>(static_cast<Wrap<T>>(a) << (n & (sizeof(T) == 8 ? 63u : 31u)));
      return n < kBits<T> ? shifted : T{0};
    } else if constexpr (std::is_signed_v<T>) {
      return static_cast<T>(a >> (n < kBits<T> ? n : kBits<T> - 1));
    } else {
      const T shifted = static_cast<T>(a >> (n & (kBits<T> - 1)));
      return n < kBits<T> ? shifted : T{0};
    }
  });
}

template <bool left, bool wrap>
void funnel_shift(Warp& w, const Instruction& in, std::uint32_t mask) {
  ternary<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>(
      w, in, mask, [](std::uint32_t low, std::uint32_t high, std::uint32_t amount) {
        const std::uint32_t n = wrap ? amount & 31u : (amount < 32 ? amount : 32u);
        const std::uint64_t both = (std::uint64_t{high} << 32) | low;
        return static_cast<std::uint32_t>(left ? (both << n) >> 32 : both >> n);
      });
}

/// The truth table is in `immediate`.
inline void logic3(Warp& w, const Instruction& in, std::uint32_t mask) {
  std::uint32_t term[8];
  for (unsigned i = 0; i < 8; ++i) term[i] = ((in.immediate >> i) & 1) != 0 ? ~0u : 0u;
  ternary<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>(
      w, in, mask, [&term](std::uint32_t a, std::uint32_t b, std::uint32_t c) {
        return (~a & ((~b & ((~c & term[0]) | (c & term[1]))) | (b & ((~c & term[2]) | (c & term[3]))))) |
               (a & ((~b & ((~c & term[4]) | (c & term[5]))) | (b & ((~c & term[6]) | (c & term[7])))));
      });
}

template <Op op>
void permute(Warp& w, const Instruction& in, std::uint32_t mask) {
  ternary<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t>(
      w, in, mask, [](std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
        const std::uint64_t source = (std::uint64_t{b} << 32) | a;
        const unsigned k = selector & 3u;
        std::uint32_t result = 0;
        for (unsigned i = 0; i < 4; ++i) {
          unsigned byte = 0;
          bool replicate_sign = false;
          if constexpr (op == Op::prmt) {
            byte = (selector >> (4 * i)) & 7u;
            replicate_sign = ((selector >> (4 * i)) & 8u) != 0;
          }
          if constexpr (op == Op::prmt_f4e) byte = k + i;
          if constexpr (op == Op::prmt_b4e) byte = (k + 8 - i) & 7u;
          if constexpr (op == Op::prmt_rc8) byte = k;
          if constexpr (op == Op::prmt_ecl) byte = i > k ? i : k;
          if constexpr (op == Op::prmt_ecr) byte = i < k ? i : k;
          if constexpr (op == Op::prmt_rc16) byte = (k & 1u) * 2 + (i & 1u);
          std::uint32_t value = static_cast<std::uint32_t>(source >> (8 * byte)) & 0xffu;
          if (replicate_sign) value = (value & 0x80u) != 0 ? 0xffu : 0u;
          result |= value << (8 * i);
        }
        return result;
      });
}

template <class T>
void bit_field_extract(Warp& w, const Instruction& in, std::uint32_t mask) {
  ternary<T, T, std::uint32_t, std::uint32_t>(w, in, mask, [](T a, std::uint32_t position, std::uint32_t length) -> T {
    using U = std::make_unsigned_t<T>;
    const unsigned p = position & 0xffu, n = length & 0xffu;
    if (n == 0) return 0;
    const unsigned last = p + n - 1 < kBits<T> - 1 ? p + n - 1 : kBits<T> - 1;
    const bool sign = std::is_signed_v<T> && ((static_cast<U>(a) >> last) & 1u) != 0;
    U field = p < kBits<T> ? static_cast<U>(static_cast<U>(a) >> p) : U{0};
    const unsigned available = p < kBits<T> ? (n < kBits<T> - p ? n : kBits<T> - p) : 0;
    if (available < kBits<T>) {
      const U keep = static_cast<U>((U{1} << available) - 1);
      field = static_cast<U>((field & keep) | (sign ? ~keep : U{0}));
    }
    return static_cast<T>(field);
  });
}

template <class T>
void bit_field_insert(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::byte* a = w.registers + in.a;
  const std::byte* b = w.registers + in.b;
  const std::byte* c = w.registers + in.c;
  const std::byte* e = w.registers + in.e;
  for_lanes<T>(w, in.d, mask, [=](unsigned i) {
    const unsigned p = get<std::uint32_t>(c, i) & 0xffu, n = get<std::uint32_t>(e, i) & 0xffu;
    const T field = n >= kBits<T> ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << n) - 1);
    const T where = p < kBits<T> ? static_cast<T>(field << (p & (kBits<T> - 1))) : T{0};
    const T value = p < kBits<T> ? static_cast<T>(get<T>(a, i) << (p & (kBits<T> - 1))) : T{0};
    return static_cast<T>((value & where) | (get<T>(b, i) & ~where));
  });
}

template <Op op, class T>
void count_bits(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<std::uint32_t, T>(w, in, mask, [](T a) -> std::uint32_t {
    using U = std::make_unsigned_t<T>;
    const auto value = static_cast<U>(a);
    const auto leading = [](U v) {
      return v == 0 ? kBits<T> : static_cast<std::uint32_t>(__builtin_clzll(v)) - (64 - kBits<T>);
    };
    if constexpr (op == Op::popc) return static_cast<std::uint32_t>(__builtin_popcountll(value));
    if constexpr (op == Op::clz) return leading(value);
    if constexpr (op == Op::bfind || op == Op::bfind_shiftamt) {
      const U magnitude = std::is_signed_v<T> && a < 0 ? static_cast<U>(~value) : value;
      if (magnitude == 0) return ~0u;
      const std::uint32_t zeros = leading(magnitude);
      return op == Op::bfind ? kBits<T> - 1 - zeros : zeros;
    }
  });
}

/// The carry flag is the register `e` (one 32-bit word per lane).
template <Op op, class T>
void extended_precision(Warp& w, const Instruction& in, std::uint32_t mask) {
  constexpr bool subtracts = op == Op::sub_cc || op == Op::subc || op == Op::subc_cc;
  constexpr bool reads = op == Op::addc || op == Op::addc_cc || op == Op::subc || op == Op::subc_cc;
  constexpr bool writes = op == Op::add_cc || op == Op::addc_cc || op == Op::sub_cc || op == Op::subc_cc;
  using W = typename Wider<T>::type;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    const W carry = reads ? get<std::uint32_t>(w.registers + in.e, lane) : 0u;
    const W a = get<T>(w.registers + in.a, lane), b = get<T>(w.registers + in.b, lane);
    const W result = subtracts ? a - b - carry : a + b + carry;
    put<T>(w.registers + in.d, lane, static_cast<T>(result));
    if (writes) put<std::uint32_t>(w.registers + in.e, lane, static_cast<std::uint32_t>((result >> kBits<T>)&1));
  }
}

template <Op op>
void predicate_logic(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::uint32_t a = predicate(w, in.a), b = predicate(w, in.b);
  set_predicate(w, in.d, op == Op::bit_and ? a & b : op == Op::bit_or ? a | b : op == Op::bit_xor ? a ^ b : ~a, mask);
}

template <class T>
void move(Warp& w, const Instruction& in, std::uint32_t mask) {
  unary<T, T>(w, in, mask, [](T a) { return a; });
}

inline void move_predicate(Warp& w, const Instruction& in, std::uint32_t mask) {
  set_predicate(w, in.d, predicate(w, in.a), mask);
}

template <class T>
void select(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::byte* a = w.registers + in.a;
  const std::byte* b = w.registers + in.b;
  const std::uint32_t chosen = predicate(w, in.c);
  for_lanes<T>(w, in.d, mask, [=](unsigned i) { return in_mask(chosen, i) ? get<T>(a, i) : get<T>(b, i); });
}

template <class T>
void select_by_sign(Warp& w, const Instruction& in, std::uint32_t mask) {
  ternary<T, T, T, std::int32_t>(w, in, mask, [](T a, T b, std::int32_t c) { return c >= 0 ? a : b; });
}

/// mov of {a, b, ...} to one register: `list` names the parts, the first has the lowest bits.
template <class Whole, class Part>
void pack(Warp& w, const Instruction& in, std::uint32_t mask) {
  constexpr unsigned parts = sizeof(Whole) / sizeof(Part);
  const std::uint32_t* list = in.list;
  for_lanes<Whole>(w, in.d, mask, [&w, list](unsigned i) {
    Whole value = 0;
    for (unsigned p = 0; p < parts; ++p)
      value = static_cast<Whole>(
          value | static_cast<Whole>(static_cast<Whole>(get<Part>(w.registers + list[p], i)) << (p * kBits<Part>)));
    return value;
  });
}

template <class Whole, class Part>
void unpack(Warp& w, const Instruction& in, std::uint32_t mask) {
  constexpr unsigned parts = sizeof(Whole) / sizeof(Part);
  Whole source[kLanes];  // a part may be the source register itself
  for (unsigned i = 0; i < kLanes; ++i) source[i] = get<Whole>(w.registers + in.a, i);
  for (unsigned p = 0; p < parts; ++p)
    for_lanes<Part>(w, in.list[p], mask,
                    [&source, p](unsigned i) { return static_cast<Part>(source[i] >> (p * kBits<Part>)); });
}
