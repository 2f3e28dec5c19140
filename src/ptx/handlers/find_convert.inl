// The handlers of cvt.
#pragma once

#include "src/ptx/handlers/convert.inl"
#include "src/ptx/handlers/find_flags.inl"
#include "src/ptx/handlers/find_integer_types.inl"
#include "src/ptx/handlers/float8.inl"

inline Handler find_integer_to_integer(const Form& form) {
  if (form.round != Round::none || form.ftz || form.relu) return nullptr;
  const bool exact = form.register_bytes == bytes_of(form.type) && form.source_register_bytes == bytes_of(form.source);
  if (form.register_bytes < bytes_of(form.type) || form.source_register_bytes < bytes_of(form.source)) return nullptr;
  if (form.sat || !exact) return any_integer_to_integer;
  // Truncation and extension look at the source's sign only.
  return for_bits(form.type, [&](auto d) {
    return for_integer(form.source, [](auto s) -> Handler { return integer_to_integer<decltype(d), decltype(s)>; });
  });
}

inline Handler find_integer_to_float(const Form& form) {
  if (form.ftz || form.sat || form.relu || form.source_register_bytes < bytes_of(form.source)) return nullptr;
  const bool directed = form.round == Round::rz || form.round == Round::rm || form.round == Round::rp;
  if (form.round != Round::rn && !directed) return nullptr;
  const bool exact = form.source_register_bytes == bytes_of(form.source);
  switch (form.type) {
    case Type::f32:
      if (directed || !exact) return any_integer_to_float;
      return for_integer(form.source, [](auto s) -> Handler { return integer_to_float32<decltype(s)>; });
    case Type::f64:
      // From at most 32 bits the result is exact, whatever the rounding.
      if (bytes_of(form.source) < 8) return any_integer_to_float;
      if (directed || !exact) return nullptr;
      return for_integer(form.source, [](auto s) -> Handler { return integer_to_float64<decltype(s)>; });
    case Type::f16:
    case Type::bf16:
      return form.round == Round::rn || form.round == Round::rz ? any_integer_to_float : nullptr;
    default:
      return nullptr;
  }
}

inline bool integral_round(Round round) {
  return round == Round::rni || round == Round::rzi || round == Round::rmi || round == Round::rpi;
}

template <class Pick>
inline Handler for_integral_round(Round round, Pick pick) {
  switch (round) {
    case Round::rni:
      return pick(std::integral_constant<Round, Round::rni>{});
    case Round::rzi:
      return pick(std::integral_constant<Round, Round::rzi>{});
    case Round::rmi:
      return pick(std::integral_constant<Round, Round::rmi>{});
    case Round::rpi:
      return pick(std::integral_constant<Round, Round::rpi>{});
    default:
      return nullptr;
  }
}

// .sat is accepted: these conversions clamp in any case.
inline Handler find_float_to_integer(const Form& form) {
  if (form.relu || (form.ftz && form.source != Type::f32)) return nullptr;
  if (form.register_bytes < bytes_of(form.type)) return nullptr;
  if (form.source == Type::f32 && form.register_bytes == 4) {
    if (form.type == Type::s32 && form.round == Round::rzi) return float32_to_integer<std::int32_t, Round::rzi>;
    if (form.type == Type::s32 && form.round == Round::rni) return float32_to_integer<std::int32_t, Round::rni>;
    if (form.type == Type::u32 && form.round == Round::rzi) return float32_to_integer<std::uint32_t, Round::rzi>;
  }
  const bool known_source =
      form.source == Type::f32 || form.source == Type::f64 || form.source == Type::f16 || form.source == Type::bf16;
  return known_source && integral_round(form.round) ? any_float_to_integer : nullptr;
}

template <class Format>
inline Handler find_float32_to_half(const Form& form) {
  if (form.sat && form.relu) return nullptr;
  if (form.round == Round::rn) return float32_to_half<Format, false>;
  return form.round == Round::rz && !form.sat ? float32_to_half<Format, true> : nullptr;
}

inline Handler find_narrowing(const Form& form) {
  if (form.source == Type::f32 && form.type == Type::f16) return find_float32_to_half<Half>(form);
  if (form.source == Type::f32 && form.type == Type::bf16) {
    if (form.ftz || form.sat) return nullptr;
    return find_float32_to_half<Bfloat>(form);
  }
  if (form.source == Type::f32 && form.type == Type::tf32) {
    if (form.ftz || form.sat) return nullptr;
    if (form.round == Round::rna) return form.relu ? nullptr : Handler{float32_to_tf32<Round::rna, false>};
    if (form.round == Round::rn)
      return form.relu ? float32_to_tf32<Round::rn, true> : float32_to_tf32<Round::rn, false>;
    if (form.round == Round::rz)
      return form.relu ? float32_to_tf32<Round::rz, true> : float32_to_tf32<Round::rz, false>;
    return nullptr;
  }
  if (form.relu) return nullptr;
  if (form.source == Type::f64 && form.type == Type::f32)
    return for_flags(form.ftz, form.sat, [&](auto ftz, auto sat) -> Handler {
      switch (form.round) {
        case Round::rn:
          return float64_to_float32<Round::rn, ftz(), sat()>;
        case Round::rz:
          return float64_to_float32<Round::rz, ftz(), sat()>;
        case Round::rm:
          return float64_to_float32<Round::rm, ftz(), sat()>;
        case Round::rp:
          return float64_to_float32<Round::rp, ftz(), sat()>;
        default:
          return nullptr;
      }
    });
  if (form.ftz || form.sat || form.source != Type::f64) return nullptr;
  if (form.type == Type::f16 && form.round == Round::rn) return float64_to_half<Half, false>;
  if (form.type == Type::f16 && form.round == Round::rz) return float64_to_half<Half, true>;
  return form.type == Type::bf16 && form.round == Round::rn ? Handler{float64_to_half<Bfloat, false>} : nullptr;
}

inline Handler find_widening(const Form& form) {
  if (form.round != Round::none || form.relu) return nullptr;
  if (form.source == Type::f32 && form.type == Type::f64 && !form.sat)
    return form.ftz ? float32_to_float64<true> : float32_to_float64<false>;
  if (form.source == Type::f16 && form.type == Type::f32)
    return for_flags(form.ftz, form.sat,
                     [](auto ftz, auto sat) -> Handler { return half_to_float32<Half, ftz(), sat()>; });
  if (form.source == Type::bf16 && form.type == Type::f32)
    return for_flags(form.ftz, form.sat,
                     [](auto ftz, auto sat) -> Handler { return half_to_float32<Bfloat, ftz(), sat()>; });
  if (form.ftz || form.sat) return nullptr;
  if (form.source == Type::f16 && form.type == Type::f64) return half_to_float64<Half>;
  return form.source == Type::bf16 && form.type == Type::f64 ? Handler{half_to_float64<Bfloat>} : nullptr;
}

inline Handler find_same_size(const Form& form) {
  if (form.relu) return nullptr;
  if (form.type == Type::f32 && form.source == Type::f32)
    return for_flags(form.ftz, form.sat, [&](auto ftz, auto sat) -> Handler {
      if (form.round == Round::none && (ftz() || sat())) return float32_to_integral<Round::none, ftz(), sat()>;
      return for_integral_round(form.round, [](auto round) -> Handler {
        return float32_to_integral<round(), decltype(ftz)::value, decltype(sat)::value>;
      });
    });
  if (form.ftz || form.sat) return nullptr;
  if (form.type == Type::f64 && form.source == Type::f64)
    return for_integral_round(form.round, [](auto round) -> Handler { return float64_to_integral<round()>; });
  if (form.type == Type::f16 && form.source == Type::f16)
    return for_integral_round(form.round, [](auto round) -> Handler { return half_to_integral<Half, round()>; });
  if (form.type == Type::bf16 && form.source == Type::bf16)
    return for_integral_round(form.round, [](auto round) -> Handler { return half_to_integral<Bfloat, round()>; });
  if (form.round != Round::rn) return nullptr;
  if (form.type == Type::bf16 && form.source == Type::f16) return half_to_half<Half, Bfloat>;
  return form.type == Type::f16 && form.source == Type::bf16 ? Handler{half_to_half<Bfloat, Half>} : nullptr;
}

/// Of pairs: the decoder has seen to .satfinite.
template <class Format>
inline Handler find_float8(const Form& form) {
  if (form.round != Round::rn || form.ftz || form.sat) return nullptr;
  if (form.op == Op::cvt_pack) return form.source == Type::f32 ? float32_pair_to_float8<Format> : nullptr;
  if (form.type == Type::f16x2) return float8_pair_to_half<Format>;
  return form.source == Type::f16x2 ? half_pair_to_float8<Format> : nullptr;
}

inline Handler find_pair(const Form& form) {
  if (form.source != Type::f32 || form.ftz || form.sat) return nullptr;
  const bool towards_zero = form.round == Round::rz;
  if (!towards_zero && form.round != Round::rn) return nullptr;
  return for_flag(towards_zero, [&](auto rz) -> Handler {
    if (form.type == Type::bf16x2) return float32_pair_to_half<Bfloat, rz()>;
    return form.type == Type::f16x2 ? Handler{float32_pair_to_half<Half, rz()>} : nullptr;
  });
}

inline Handler find_convert(const Form& form) {
  if (is_float8(form.type) && is_float8(form.source)) return nullptr;
  if (form.type == Type::e4m3x2 || form.source == Type::e4m3x2) return find_float8<E4m3>(form);
  if (form.type == Type::e5m2x2 || form.source == Type::e5m2x2) return find_float8<E5m2>(form);
  if (form.op == Op::cvt_pack) return find_pair(form);
  const bool to_integer = is_integer(form.type), from_integer = is_integer(form.source);
  if (to_integer && from_integer) return find_integer_to_integer(form);
  // Only integers may live in registers wider than themselves.
  if (!from_integer && form.source_register_bytes != bytes_of(form.source)) return nullptr;
  if (!to_integer && form.register_bytes != bytes_of(form.type)) return nullptr;
  if (from_integer) return find_integer_to_float(form);
  if (to_integer) return is_float(form.source) ? find_float_to_integer(form) : nullptr;
  if (bytes_of(form.type) == bytes_of(form.source) && form.type != Type::tf32) return find_same_size(form);
  if (bytes_of(form.type) < bytes_of(form.source) || form.type == Type::tf32) return find_narrowing(form);
  return find_widening(form);
}
