// Arithmetic and bit instructions.
#include <string_view>

#include "src/ptx/decoder.hpp"

namespace librt::ptx {
namespace {

Round take_rounding(Modifiers& m) {
  const std::string_view name = m.take_any({"rn", "rz", "rm", "rp", "approx", "full"});
  if (name == "rn") return Round::rn;
  if (name == "rz") return Round::rz;
  if (name == "rm") return Round::rm;
  if (name == "rp") return Round::rp;
  if (name == "approx") return Round::approx;
  return name == "full" ? Round::full : Round::none;
}

bool narrow_integer(Type type) {
  return bytes_of(type) == 1;
}

Type double_width(Type type) {
  switch (type) {
    case Type::u16:
      return Type::u32;
    case Type::s16:
      return Type::s32;
    case Type::u32:
      return Type::u64;
    case Type::s32:
      return Type::s64;
    default:
      return Type::none;
  }
}

}  // namespace

void KernelDecoder::two_sources(Form form, Type d, Type a, Type b) {
  expect_operands(3, 3);
  instruction_.a = source(1, a);
  instruction_.b = source(2, b);
  instruction_.d = destination(0, d);
  emit(form);
}

void KernelDecoder::three_sources(Form form, Type d, Type a, Type b, Type c) {
  expect_operands(4, 4);
  instruction_.a = source(1, a);
  instruction_.b = source(2, b);
  instruction_.c = source(3, c);
  instruction_.d = destination(0, d);
  emit(form);
}

void KernelDecoder::add_or_subtract(Modifiers& m) {
  const bool adds = m.base() == "add";
  Form form{.op = adds ? Op::add : Op::sub};
  if (m.take("cc")) {
    form.op = adds ? Op::add_cc : Op::sub_cc;
    form.type = m.take_type().value_or(Type::none);
    if (!m.done() || !is_integer(form.type) || bytes_of(form.type) < 4) refuse();
    instruction_.e = carry_;
    note(info_.written, carry_, 4);
    return two_sources(form, form.type, form.type, form.type);
  }
  form.round = take_rounding(m);
  form.ftz = m.take("ftz");
  form.sat = m.take("sat");
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || narrow_integer(form.type) || (is_integer(form.type) && (form.round != Round::none || form.ftz)))
    refuse();
  two_sources(form, form.type, form.type, form.type);
}

void KernelDecoder::carry_arithmetic(Modifiers& m) {
  const bool adds = m.base() == "addc";
  const bool writes = m.take("cc");
  Form form{.op = adds ? (writes ? Op::addc_cc : Op::addc) : (writes ? Op::subc_cc : Op::subc)};
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || !is_integer(form.type) || bytes_of(form.type) < 4) refuse();
  instruction_.e = carry_;
  note(info_.read, carry_, 4);
  if (writes) note(info_.written, carry_, 4);
  two_sources(form, form.type, form.type, form.type);
}

void KernelDecoder::multiply(Modifiers& m) {
  Form form;
  const std::string_view part = m.take_any({"lo", "hi", "wide"});
  if (part.empty()) {
    form.op = Op::mul;
    form.round = take_rounding(m);
    form.ftz = m.take("ftz");
    form.sat = m.take("sat");
    form.type = m.take_type().value_or(Type::none);
    if (!m.done() || !is_float(form.type)) refuse();
    return two_sources(form, form.type, form.type, form.type);
  }
  form.op = part == "lo" ? Op::mul_lo : part == "hi" ? Op::mul_hi : Op::mul_wide;
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || !is_integer(form.type) || narrow_integer(form.type)) refuse();
  const Type result = part == "wide" ? double_width(form.type) : form.type;
  if (result == Type::none) refuse();
  two_sources(form, result, form.type, form.type);
}

void KernelDecoder::multiply_add(Modifiers& m) {
  Form form;
  const std::string_view part = m.take_any({"lo", "hi", "wide"});
  if (part.empty()) {  // mad.rn and fma.rn are the same operation
    form.op = Op::fma;
    form.round = take_rounding(m);
    form.ftz = m.take("ftz");
    form.sat = m.take("sat");
    form.relu = m.take("relu");
    form.type = m.take_type().value_or(Type::none);
    if (!m.done() || !is_float(form.type) || (form.relu && bytes_of(form.type) == 8)) refuse();
    if (form.relu && form.type == Type::f32) refuse();
    return three_sources(form, form.type, form.type, form.type, form.type);
  }
  if (m.base() != "mad") refuse();
  form.op = part == "lo" ? Op::mad_lo : part == "hi" ? Op::mad_hi : Op::mad_wide;
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || !is_integer(form.type) || narrow_integer(form.type)) refuse();
  const Type sum = part == "wide" ? double_width(form.type) : form.type;
  if (sum == Type::none) refuse();
  three_sources(form, sum, form.type, form.type, sum);
}

void KernelDecoder::divide(Modifiers& m) {
  Form form{.op = Op::div};
  form.round = take_rounding(m);
  form.ftz = m.take("ftz");
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || narrow_integer(form.type) || (is_integer(form.type) && (form.round != Round::none || form.ftz)))
    refuse();
  if (!is_integer(form.type) && form.type != Type::f32 && form.type != Type::f64) refuse();
  two_sources(form, form.type, form.type, form.type);
}

void KernelDecoder::remainder(Modifiers& m) {
  Form form{.op = Op::rem};
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || !is_integer(form.type) || narrow_integer(form.type)) refuse();
  two_sources(form, form.type, form.type, form.type);
}

void KernelDecoder::absolute_or_negate(Modifiers& m) {
  Form form{.op = m.base() == "abs" ? Op::abs : Op::neg};
  form.ftz = m.take("ftz");
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || narrow_integer(form.type) || (is_integer(form.type) && form.ftz)) refuse();
  expect_operands(2, 2);
  instruction_.a = source(1, form.type);
  instruction_.d = destination(0, form.type);
  emit(form);
}

void KernelDecoder::minimum_or_maximum(Modifiers& m) {
  Form form{.op = m.base() == "min" ? Op::min : Op::max};
  form.ftz = m.take("ftz");
  form.nan = m.take("NaN");
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || narrow_integer(form.type) || (is_integer(form.type) && (form.ftz || form.nan))) refuse();
  two_sources(form, form.type, form.type, form.type);
}

void KernelDecoder::bitwise(Modifiers& m) {
  const std::string_view base = m.base();
  Form form{.op = base == "and"   ? Op::bit_and
                  : base == "or"  ? Op::bit_or
                  : base == "xor" ? Op::bit_xor
                  : base == "not" ? Op::bit_not
                                  : Op::cnot};
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || narrow_integer(form.type) || (form.type == Type::pred && form.op == Op::cnot)) refuse();
  if (form.op != Op::bit_not && form.op != Op::cnot) return two_sources(form, form.type, form.type, form.type);
  expect_operands(2, 2);
  instruction_.a = source(1, form.type);
  instruction_.b = instruction_.a;
  instruction_.d = destination(0, form.type);
  emit(form);
}

void KernelDecoder::shift(Modifiers& m) {
  Form form{.op = m.base() == "shl" ? Op::shl : Op::shr};
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || is_float(form.type) || bytes_of(form.type) < 2) refuse();
  two_sources(form, form.type, form.type, Type::u32);
}

void KernelDecoder::funnel_shift(Modifiers& m) {
  const std::string_view direction = m.take_any({"l", "r"}), mode = m.take_any({"wrap", "clamp"});
  Form form{.op = direction == "l" ? (mode == "wrap" ? Op::shf_l_wrap : Op::shf_l_clamp)
                                   : (mode == "wrap" ? Op::shf_r_wrap : Op::shf_r_clamp)};
  if (direction.empty() || mode.empty() || !m.take("b32") || !m.done()) refuse();
  form.type = Type::b32;
  three_sources(form, Type::b32, Type::b32, Type::b32, Type::u32);
}

void KernelDecoder::logic3(Modifiers& m) {
  if (!m.take("b32") || !m.done()) refuse();
  expect_operands(5, 5);
  const Operand& table = operand(4);
  if (table.kind != Operand::Kind::integer || table.value < 0 || table.value > 255)
    bad_operand("the lookup table must be a number from 0 to 255");
  instruction_.immediate = table.value;
  instruction_.a = source(1, Type::b32);
  instruction_.b = source(2, Type::b32);
  instruction_.c = source(3, Type::b32);
  instruction_.d = destination(0, Type::b32);
  emit({.op = Op::lop3, .type = Type::b32});
}

void KernelDecoder::permute(Modifiers& m) {
  if (!m.take("b32")) refuse();
  Form form{.op = Op::prmt, .type = Type::b32};
  const std::string_view mode = m.take_any({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  if (mode == "f4e") form.op = Op::prmt_f4e;
  if (mode == "b4e") form.op = Op::prmt_b4e;
  if (mode == "rc8") form.op = Op::prmt_rc8;
  if (mode == "ecl") form.op = Op::prmt_ecl;
  if (mode == "ecr") form.op = Op::prmt_ecr;
  if (mode == "rc16") form.op = Op::prmt_rc16;
  if (!m.done()) refuse();
  three_sources(form, Type::b32, Type::b32, Type::b32, Type::b32);
}

void KernelDecoder::bit_field(Modifiers& m) {
  if (m.base() == "bfe") {
    Form form{.op = Op::bfe, .type = m.take_type().value_or(Type::none)};
    if (!m.done() || !is_integer(form.type) || bytes_of(form.type) < 4) refuse();
    return three_sources(form, form.type, form.type, Type::u32, Type::u32);
  }
  Form form{.op = Op::bfi, .type = m.take_type().value_or(Type::none)};
  if (!m.done() || (form.type != Type::b32 && form.type != Type::b64)) refuse();
  expect_operands(5, 5);
  instruction_.a = source(1, form.type);
  instruction_.b = source(2, form.type);
  instruction_.c = source(3, Type::u32);
  instruction_.e = source(4, Type::u32);
  instruction_.d = destination(0, form.type);
  emit(form);
}

void KernelDecoder::count_bits(Modifiers& m) {
  const std::string_view base = m.base();
  Form form{.op = base == "popc" ? Op::popc : base == "clz" ? Op::clz : base == "brev" ? Op::brev : Op::bfind};
  if (base == "bfind" && m.take("shiftamt")) form.op = Op::bfind_shiftamt;
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(form.type) < 4 || is_float(form.type)) refuse();
  expect_operands(2, 2);
  instruction_.a = source(1, form.type);
  instruction_.d = destination(0, base == "brev" ? form.type : Type::u32);
  emit(form);
}

void KernelDecoder::sum_of_differences(Modifiers& m) {
  Form form{.op = Op::sad, .type = m.take_type().value_or(Type::none)};
  if (!m.done() || !is_integer(form.type) || narrow_integer(form.type)) refuse();
  three_sources(form, form.type, form.type, form.type, form.type);
}

void KernelDecoder::approximation(Modifiers& m) {
  const std::string_view base = m.base();
  Form form{.op = base == "rcp"     ? Op::rcp
                  : base == "sqrt"  ? Op::sqrt
                  : base == "rsqrt" ? Op::rsqrt
                  : base == "ex2"   ? Op::ex2
                  : base == "lg2"   ? Op::lg2
                  : base == "sin"   ? Op::sin
                  : base == "cos"   ? Op::cos
                                    : Op::tanh};
  form.round = take_rounding(m);
  form.ftz = m.take("ftz");
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || !is_float(form.type)) refuse();
  expect_operands(2, 2);
  instruction_.a = source(1, form.type);
  instruction_.d = destination(0, form.type);
  emit(form);
}

void KernelDecoder::copy_sign(Modifiers& m) {
  Form form{.op = Op::copysign, .type = m.take_type().value_or(Type::none)};
  if (!m.done() || (form.type != Type::f32 && form.type != Type::f64)) refuse();
  two_sources(form, form.type, form.type, form.type);
}

}  // namespace librt::ptx
