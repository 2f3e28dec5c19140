// The handlers of floating-point arithmetic and of comparisons.
#pragma once

#include "src/ptx/handlers/find_flags.inl"
#include "src/ptx/handlers/find_integer_types.inl"
#include "src/ptx/handlers/half.inl"

template <Op op>
Handler find_float32_binary(const Form& form) {
  return for_flags(form.ftz, form.sat, [](auto ftz, auto sat) -> Handler { return float32_binary<op, ftz(), sat()>; });
}

template <Op op>
Handler find_float32_unary(const Form& form) {
  return for_flag(form.ftz, [](auto ftz) -> Handler { return float32_unary<op, ftz(), false>; });
}

template <bool maximum>
Handler find_float32_extremum(const Form& form) {
  return for_flags(form.ftz, form.nan,
                   [](auto ftz, auto nan) -> Handler { return float32_extremum<maximum, ftz(), nan()>; });
}

inline Handler find_float32(const Form& form) {
  const bool rounds_nearest = form.round == Round::none || form.round == Round::rn;
  const bool approximate = form.round == Round::approx;
  if (form.round == Round::rz || form.round == Round::rm || form.round == Round::rp) {
    switch (form.op) {
      case Op::add:
        return float32_directed<Op::add>;
      case Op::sub:
        return float32_directed<Op::sub>;
      case Op::mul:
        return float32_directed<Op::mul>;
      case Op::fma:
        return float32_directed<Op::fma>;
      default:
        return nullptr;
    }
  }
  switch (form.op) {
    case Op::add:
      return rounds_nearest ? find_float32_binary<Op::add>(form) : nullptr;
    case Op::sub:
      return rounds_nearest ? find_float32_binary<Op::sub>(form) : nullptr;
    case Op::mul:
      return rounds_nearest ? find_float32_binary<Op::mul>(form) : nullptr;
    case Op::div:
      if (form.sat || (form.round != Round::rn && form.round != Round::approx && form.round != Round::full))
        return nullptr;
      return find_float32_binary<Op::div>(form);
    case Op::copysign:
      return form.round == Round::none ? find_float32_binary<Op::copysign>(form) : nullptr;
    case Op::fma:
      if (form.round != Round::rn) return nullptr;
      return for_flags(form.ftz, form.sat, [](auto ftz, auto sat) -> Handler { return float32_fma<ftz(), sat()>; });
    case Op::min:
      return form.sat ? nullptr : find_float32_extremum<false>(form);
    case Op::max:
      return form.sat ? nullptr : find_float32_extremum<true>(form);
    case Op::neg:
      return find_float32_unary<Op::neg>(form);
    case Op::abs:
      return find_float32_unary<Op::abs>(form);
    case Op::rcp:
      return approximate || form.round == Round::rn ? find_float32_unary<Op::rcp>(form) : nullptr;
    case Op::sqrt:
      return approximate || form.round == Round::rn ? find_float32_unary<Op::sqrt>(form) : nullptr;
    case Op::rsqrt:
      return approximate ? find_float32_unary<Op::rsqrt>(form) : nullptr;
    case Op::ex2:
      return approximate ? find_float32_unary<Op::ex2>(form) : nullptr;
    case Op::lg2:
      return approximate ? find_float32_unary<Op::lg2>(form) : nullptr;
    case Op::sin:
      return approximate ? find_float32_unary<Op::sin>(form) : nullptr;
    case Op::cos:
      return approximate ? find_float32_unary<Op::cos>(form) : nullptr;
    case Op::tanh:
      return approximate && !form.ftz ? find_float32_unary<Op::tanh>(form) : nullptr;
    default:
      return nullptr;
  }
}

inline Handler find_float64(const Form& form) {
  const bool rounds_nearest = form.round == Round::none || form.round == Round::rn;
  if (form.ftz || form.sat || form.nan) return nullptr;
  switch (form.op) {
    case Op::add:
      return rounds_nearest ? float64_binary<Op::add> : nullptr;
    case Op::sub:
      return rounds_nearest ? float64_binary<Op::sub> : nullptr;
    case Op::mul:
      return rounds_nearest ? float64_binary<Op::mul> : nullptr;
    case Op::div:
      return form.round == Round::rn ? float64_binary<Op::div> : nullptr;
    case Op::fma:
      return form.round == Round::rn ? float64_fma : nullptr;
    case Op::min:
      return float64_binary<Op::min>;
    case Op::max:
      return float64_binary<Op::max>;
    case Op::copysign:
      return float64_binary<Op::copysign>;
    case Op::neg:
      return float64_unary<Op::neg>;
    case Op::abs:
      return float64_unary<Op::abs>;
    case Op::rcp:
      return form.round == Round::rn ? float64_unary<Op::rcp> : nullptr;
    case Op::sqrt:
      return form.round == Round::rn ? float64_unary<Op::sqrt> : nullptr;
    default:
      return nullptr;
  }
}

template <class Format, bool pair>
Handler find_half(const Form& form) {
  constexpr bool bf16 = std::is_same_v<Format, Bfloat>;
  if (bf16 && (form.ftz || form.sat) && form.op != Op::ex2) return nullptr;
  const bool rounds_nearest = form.round == Round::none || form.round == Round::rn;
  switch (form.op) {
    case Op::add:
      return rounds_nearest ? half_arithmetic<Op::add, Format, pair> : nullptr;
    case Op::sub:
      return rounds_nearest ? half_arithmetic<Op::sub, Format, pair> : nullptr;
    case Op::mul:
      return rounds_nearest ? half_arithmetic<Op::mul, Format, pair> : nullptr;
    case Op::min:
      return form.sat ? nullptr : half_arithmetic<Op::min, Format, pair>;
    case Op::max:
      return form.sat ? nullptr : half_arithmetic<Op::max, Format, pair>;
    case Op::fma:
      return form.round == Round::rn && !(form.sat && form.relu) ? half_fma<Format, pair> : nullptr;
    case Op::neg:
      return half_sign<Op::neg, Format, pair>;
    case Op::abs:
      return half_sign<Op::abs, Format, pair>;
    // The ISA has ex2.approx.ftz for bf16 and ex2.approx, with subnormals, for f16.
    case Op::ex2:
      return form.round == Round::approx && form.ftz == bf16 ? half_approximation<Op::ex2, Format, pair> : nullptr;
    case Op::tanh:
      return form.round == Round::approx && !form.ftz ? half_approximation<Op::tanh, Format, pair> : nullptr;
    default:
      return nullptr;
  }
}

template <class Pick>
inline Handler for_integer_compare(const Form& form, Pick pick) {
  // .lo, .ls, .hi and .hs are decoded as lt, le, gt and ge; bits are only equal or not.
  switch (form.compare) {
    case Compare::eq:
      return pick(std::integral_constant<Compare, Compare::eq>{});
    case Compare::ne:
      return pick(std::integral_constant<Compare, Compare::neu>{});
    default:
      break;
  }
  if (is_untyped(form.type)) return nullptr;
  switch (form.compare) {
    case Compare::lt:
      return pick(std::integral_constant<Compare, Compare::lt>{});
    case Compare::le:
      return pick(std::integral_constant<Compare, Compare::le>{});
    case Compare::gt:
      return pick(std::integral_constant<Compare, Compare::gt>{});
    case Compare::ge:
      return pick(std::integral_constant<Compare, Compare::ge>{});
    default:
      return nullptr;
  }
}

template <class Pick>
inline Handler for_float_compare(const Form& form, Pick pick) {
  switch (form.compare) {
    case Compare::eq:
      return pick(std::integral_constant<Compare, Compare::eq>{});
    case Compare::ne:
      return pick(std::integral_constant<Compare, Compare::ne>{});
    case Compare::lt:
      return pick(std::integral_constant<Compare, Compare::lt>{});
    case Compare::le:
      return pick(std::integral_constant<Compare, Compare::le>{});
    case Compare::gt:
      return pick(std::integral_constant<Compare, Compare::gt>{});
    case Compare::ge:
      return pick(std::integral_constant<Compare, Compare::ge>{});
    case Compare::equ:
      return pick(std::integral_constant<Compare, Compare::equ>{});
    case Compare::neu:
      return pick(std::integral_constant<Compare, Compare::neu>{});
    case Compare::ltu:
      return pick(std::integral_constant<Compare, Compare::ltu>{});
    case Compare::leu:
      return pick(std::integral_constant<Compare, Compare::leu>{});
    case Compare::gtu:
      return pick(std::integral_constant<Compare, Compare::gtu>{});
    case Compare::geu:
      return pick(std::integral_constant<Compare, Compare::geu>{});
    case Compare::num:
      return pick(std::integral_constant<Compare, Compare::num>{});
    case Compare::nan:
      return pick(std::integral_constant<Compare, Compare::nan>{});
    case Compare::none:
      return nullptr;
  }
  return nullptr;
}

/// Calls pick with the comparison and the reader of the compared type.
template <class Pick>
inline Handler for_compare(const Form& form, Type type, Pick pick) {
  const auto with = [&](auto reader) {
    return for_float_compare(form, [=](auto compare) { return pick(compare, reader); });
  };
  Form compared = form;
  compared.type = type;
  switch (type) {
    case Type::f32:
      return form.ftz ? with(AsFloat32<true>{}) : with(AsFloat32<false>{});
    case Type::f64:
      return form.ftz ? nullptr : with(AsFloat64{});
    case Type::f16:
      return form.ftz ? with(AsHalf<Half, true>{}) : with(AsHalf<Half, false>{});
    case Type::bf16:
      return form.ftz ? nullptr : with(AsHalf<Bfloat, false>{});
    default:
      break;
  }
  if (form.ftz) return nullptr;
  return for_integer(type, [&](auto t) {
    return for_integer_compare(compared, [=](auto compare) { return pick(compare, AsInteger<decltype(t)>{}); });
  });
}

inline Handler find_compare(const Form& form) {
  return for_compare(form, form.type, [](auto compare, auto reader) -> Handler {
    return set_predicate_by<compare(), decltype(reader)>;
  });
}

inline Handler find_float(const Form& form) {
  if (form.op == Op::setp) return find_compare(form);
  if (form.op == Op::testp && form.type == Type::f32) return test_property<std::uint32_t, 23>;
  if (form.op == Op::testp) return form.type == Type::f64 ? test_property<std::uint64_t, 52> : nullptr;
  switch (form.type) {
    case Type::f32:
      return find_float32(form);
    case Type::f64:
      return find_float64(form);
    case Type::f16:
      return find_half<Half, false>(form);
    case Type::f16x2:
      return find_half<Half, true>(form);
    case Type::bf16:
      return find_half<Bfloat, false>(form);
    case Type::bf16x2:
      return find_half<Bfloat, true>(form);
    default:
      return nullptr;
  }
}
