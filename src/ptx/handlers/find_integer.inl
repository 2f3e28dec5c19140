// The handlers of integer, bit and move forms.
#pragma once

#include "src/ptx/handlers/find_integer_types.inl"
#include "src/ptx/handlers/integer.inl"

template <Op op>
Handler find_integer_binary(const Form& form) {
  if (!is_integer(form.type)) return nullptr;
  return for_integer(form.type, [](auto t) -> Handler { return integer_binary<op, decltype(t)>; });
}

template <Op op>
Handler find_bit_binary(const Form& form) {
  if (form.type == Type::pred) return predicate_logic<op>;
  if (!is_untyped(form.type)) return nullptr;
  return for_bits(form.type, [](auto t) -> Handler { return integer_binary<op, decltype(t)>; });
}

template <Op op>
Handler find_permute() {
  return permute<op>;
}

template <Op op>
Handler find_count(const Form& form) {
  switch (form.type) {
    case Type::b32:
    case Type::u32:
      return count_bits<op, std::uint32_t>;
    case Type::s32:
      return count_bits<op, std::int32_t>;
    case Type::b64:
    case Type::u64:
      return count_bits<op, std::uint64_t>;
    case Type::s64:
      return count_bits<op, std::int64_t>;
    default:
      return nullptr;
  }
}

template <Op op>
Handler find_extended(const Form& form) {
  if (bytes_of(form.type) == 4) return extended_precision<op, std::uint32_t>;
  if (bytes_of(form.type) == 8) return extended_precision<op, std::uint64_t>;
  return nullptr;
}

inline Handler find_arithmetic(const Form& form) {
  const Type type = form.type;
  switch (form.op) {
    case Op::add:
      if (form.sat) return type == Type::s32 ? saturating_binary<Op::add> : nullptr;
      return find_integer_binary<Op::add>(form);
    case Op::sub:
      if (form.sat) return type == Type::s32 ? saturating_binary<Op::sub> : nullptr;
      return find_integer_binary<Op::sub>(form);
    case Op::mul_lo:
      return find_integer_binary<Op::mul_lo>(form);
    case Op::mul_hi:
      return find_integer_binary<Op::mul_hi>(form);
    case Op::div:
      return find_integer_binary<Op::div>(form);
    case Op::rem:
      return find_integer_binary<Op::rem>(form);
    case Op::min:
      return find_integer_binary<Op::min>(form);
    case Op::max:
      return find_integer_binary<Op::max>(form);
    case Op::mul_wide:
      if (!is_integer(type) || bytes_of(type) == 8) return nullptr;
      return for_integer(type, [](auto t) -> Handler {
        if constexpr (sizeof(t) < 8)
          return multiply_wide<decltype(t)>;
        else
          return nullptr;
      });
    case Op::mad_wide:
      if (!is_integer(type) || bytes_of(type) == 8) return nullptr;
      return for_integer(type, [](auto t) -> Handler {
        if constexpr (sizeof(t) < 8)
          return multiply_add_wide<decltype(t)>;
        else
          return nullptr;
      });
    case Op::mad_lo:
      if (!is_integer(type)) return nullptr;
      return for_integer(type, [](auto t) -> Handler { return multiply_add<Op::mad_lo, decltype(t)>; });
    case Op::mad_hi:
      if (!is_integer(type)) return nullptr;
      return for_integer(type, [](auto t) -> Handler { return multiply_add<Op::mad_hi, decltype(t)>; });
    case Op::sad:
      if (!is_integer(type)) return nullptr;
      return for_integer(type, [](auto t) -> Handler { return sum_of_differences<decltype(t)>; });
    case Op::neg:
      if (!is_signed(type)) return nullptr;
      return for_integer(type, [](auto t) -> Handler { return integer_unary<Op::neg, decltype(t)>; });
    case Op::abs:
      if (!is_signed(type)) return nullptr;
      return for_integer(type, [](auto t) -> Handler { return integer_unary<Op::abs, decltype(t)>; });
    default:
      return nullptr;
  }
}

inline Handler find_bits(const Form& form) {
  const Type type = form.type;
  const bool word = type == Type::b32;
  switch (form.op) {
    case Op::bit_and:
      return find_bit_binary<Op::bit_and>(form);
    case Op::bit_or:
      return find_bit_binary<Op::bit_or>(form);
    case Op::bit_xor:
      return find_bit_binary<Op::bit_xor>(form);
    case Op::bit_not:
      if (type == Type::pred) return predicate_logic<Op::bit_not>;
      if (!is_untyped(type)) return nullptr;
      return for_bits(type, [](auto t) -> Handler { return integer_unary<Op::bit_not, decltype(t)>; });
    case Op::cnot:
      if (!is_untyped(type)) return nullptr;
      return for_bits(type, [](auto t) -> Handler { return integer_unary<Op::cnot, decltype(t)>; });
    case Op::shl:
      if (!is_untyped(type)) return nullptr;
      return for_bits(type, [](auto t) -> Handler { return shift<Op::shl, decltype(t)>; });
    case Op::shr:
      return for_integer(type, [](auto t) -> Handler { return shift<Op::shr, decltype(t)>; });
    case Op::shf_l_wrap:
      return word ? funnel_shift<true, true> : nullptr;
    case Op::shf_l_clamp:
      return word ? funnel_shift<true, false> : nullptr;
    case Op::shf_r_wrap:
      return word ? funnel_shift<false, true> : nullptr;
    case Op::shf_r_clamp:
      return word ? funnel_shift<false, false> : nullptr;
    case Op::lop3:
      return word ? logic3 : nullptr;
    case Op::prmt:
      return word ? permute<Op::prmt> : nullptr;
    case Op::prmt_f4e:
      return word ? permute<Op::prmt_f4e> : nullptr;
    case Op::prmt_b4e:
      return word ? permute<Op::prmt_b4e> : nullptr;
    case Op::prmt_rc8:
      return word ? permute<Op::prmt_rc8> : nullptr;
    case Op::prmt_ecl:
      return word ? permute<Op::prmt_ecl> : nullptr;
    case Op::prmt_ecr:
      return word ? permute<Op::prmt_ecr> : nullptr;
    case Op::prmt_rc16:
      return word ? permute<Op::prmt_rc16> : nullptr;
    case Op::bfe:
      if (!is_integer(type) || bytes_of(type) < 4) return nullptr;
      return for_integer(type, [](auto t) -> Handler {
        if constexpr (sizeof(t) >= 4)
          return bit_field_extract<decltype(t)>;
        else
          return nullptr;
      });
    case Op::bfi:
      return word ? bit_field_insert<std::uint32_t> : type == Type::b64 ? bit_field_insert<std::uint64_t> : nullptr;
    case Op::bfind:
      return is_integer(type) ? find_count<Op::bfind>(form) : nullptr;
    case Op::bfind_shiftamt:
      return is_integer(type) ? find_count<Op::bfind_shiftamt>(form) : nullptr;
    case Op::popc:
      return is_untyped(type) ? find_count<Op::popc>(form) : nullptr;
    case Op::clz:
      return is_untyped(type) ? find_count<Op::clz>(form) : nullptr;
    case Op::brev:
      return word                ? integer_unary<Op::brev, std::uint32_t>
             : type == Type::b64 ? integer_unary<Op::brev, std::uint64_t>
                                 : nullptr;
    case Op::add_cc:
      return find_extended<Op::add_cc>(form);
    case Op::addc:
      return find_extended<Op::addc>(form);
    case Op::addc_cc:
      return find_extended<Op::addc_cc>(form);
    case Op::sub_cc:
      return find_extended<Op::sub_cc>(form);
    case Op::subc:
      return find_extended<Op::subc>(form);
    case Op::subc_cc:
      return find_extended<Op::subc_cc>(form);
    case Op::move:
      if (type == Type::pred) return move_predicate;
      return for_bits(type, [](auto t) -> Handler { return move<decltype(t)>; });
    case Op::selp:
      return for_bits(type, [](auto t) -> Handler { return select<decltype(t)>; });
    case Op::slct:
      if (form.source != Type::s32) return nullptr;
      return for_bits(type, [](auto t) -> Handler { return select_by_sign<decltype(t)>; });
    case Op::pack:
      if (type == Type::b32 && form.count == 2) return pack<std::uint32_t, std::uint16_t>;
      if (type == Type::b64 && form.count == 2) return pack<std::uint64_t, std::uint32_t>;
      return type == Type::b64 && form.count == 4 ? pack<std::uint64_t, std::uint16_t> : nullptr;
    case Op::unpack:
      if (type == Type::b32 && form.count == 2) return unpack<std::uint32_t, std::uint16_t>;
      if (type == Type::b64 && form.count == 2) return unpack<std::uint64_t, std::uint32_t>;
      return type == Type::b64 && form.count == 4 ? unpack<std::uint64_t, std::uint16_t> : nullptr;
    default:
      return nullptr;
  }
}

inline Handler find_integer(const Form& form) {
  const Handler handler = find_bits(form);
  return handler != nullptr ? handler : find_arithmetic(form);
}
