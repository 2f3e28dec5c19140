// Moves, selections, comparisons and conversions.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "src/ptx/decoder.hpp"

namespace librt::ptx {
namespace {

constexpr std::array kComparisons = {
    std::pair{std::string_view("eq"), Compare::eq},   std::pair{std::string_view("ne"), Compare::ne},
    std::pair{std::string_view("lt"), Compare::lt},   std::pair{std::string_view("le"), Compare::le},
    std::pair{std::string_view("gt"), Compare::gt},   std::pair{std::string_view("ge"), Compare::ge},
    std::pair{std::string_view("equ"), Compare::equ}, std::pair{std::string_view("neu"), Compare::neu},
    std::pair{std::string_view("ltu"), Compare::ltu}, std::pair{std::string_view("leu"), Compare::leu},
    std::pair{std::string_view("gtu"), Compare::gtu}, std::pair{std::string_view("geu"), Compare::geu},
    std::pair{std::string_view("num"), Compare::num}, std::pair{std::string_view("nan"), Compare::nan},
};
// Unsigned integers have names of their own for the same order.
constexpr std::array kUnsignedComparisons = {
    std::pair{std::string_view("lo"), Compare::lt},
    std::pair{std::string_view("ls"), Compare::le},
    std::pair{std::string_view("hi"), Compare::gt},
    std::pair{std::string_view("hs"), Compare::ge},
};

constexpr std::array kRoundings = {
    std::pair{std::string_view("rn"), Round::rn},   std::pair{std::string_view("rz"), Round::rz},
    std::pair{std::string_view("rm"), Round::rm},   std::pair{std::string_view("rp"), Round::rp},
    std::pair{std::string_view("rna"), Round::rna}, std::pair{std::string_view("rni"), Round::rni},
    std::pair{std::string_view("rzi"), Round::rzi}, std::pair{std::string_view("rmi"), Round::rmi},
    std::pair{std::string_view("rpi"), Round::rpi},
};

std::uint64_t window_of(Space space) {
  switch (space) {
    case Space::shared:
      return kSharedWindow;
    case Space::local:
      return kLocalWindow;
    case Space::param:
      return kParamWindow;
    default:
      return 0;
  }
}

Space take_space(Modifiers& m) {
  const std::string_view name = m.take_any({"global", "shared::cta", "shared", "local", "param", "const"});
  if (name == "global") return Space::global;
  if (name.starts_with("shared")) return Space::shared;
  if (name == "local") return Space::local;
  if (name == "param") return Space::param;
  return name == "const" ? Space::constant : Space::generic;
}

}  // namespace

void KernelDecoder::move(Modifiers& m) {
  const Type type = m.take_type().value_or(Type::none);
  if (!m.done() || (type != Type::pred && bytes_of(type) < 2) || type == Type::b128) refuse();
  if (type == Type::f16 || type == Type::bf16 || type == Type::f16x2 || type == Type::bf16x2 || type == Type::tf32)
    refuse();
  expect_operands(2, 2);
  if (operand(0).kind == Operand::Kind::vector || operand(1).kind == Operand::Kind::vector) return move_vector(type);
  const std::string_view name = operand(1).name;
  if (name == "%clock" || name == "%clock64" || name == "%globaltimer") {
    const Type clock = name == "%clock" ? Type::u32 : Type::u64;
    if (bytes_of(type) != bytes_of(clock) || is_float(type))
      bad_operand(fmt::format("{} is .{}", name, to_string(clock)));
    instruction_.d = destination(0, type);
    return emit({.op = Op::clock, .type = clock});
  }
  instruction_.a = source(1, type);
  instruction_.d = destination(0, type);
  emit({.op = Op::move, .type = type});
}

void KernelDecoder::move_vector(Type type) {
  const bool packs = operand(1).kind == Operand::Kind::vector;
  const Operand& vector = operand(packs ? 1 : 0);
  const Operand& scalar = operand(packs ? 0 : 1);
  const std::size_t count = vector.elements.size();
  if (!is_untyped(type) || scalar.kind == Operand::Kind::vector || (count != 2 && count != 4)) refuse();
  const unsigned bytes = bytes_of(type) / static_cast<unsigned>(count);
  const Type part = bytes == 2 ? Type::b16 : bytes == 4 ? Type::b32 : Type::none;
  if (part == Type::none) refuse();
  std::uint32_t* list = new_list(count);
  for (std::size_t i = 0; i < count; ++i)
    list[i] = packs ? source(vector.elements[i], part) : destination(vector.elements[i], part);
  if (packs)
    instruction_.d = destination(scalar, type);
  else
    instruction_.a = source(scalar, type);
  emit({.op = packs ? Op::pack : Op::unpack, .type = type, .count = static_cast<std::uint8_t>(count)});
}

void KernelDecoder::select(Modifiers& m) {
  const Type type = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(type) < 2 || (is_float(type) && type != Type::f32 && type != Type::f64)) refuse();
  expect_operands(4, 4);
  instruction_.a = source(1, type);
  instruction_.b = source(2, type);
  instruction_.c = source(3, Type::pred);
  instruction_.d = destination(0, type);
  emit({.op = Op::selp, .type = type});
}

void KernelDecoder::select_by_sign(Modifiers& m) {
  const Type type = m.take_type().value_or(Type::none);
  const Type sign = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(type) < 2 || sign != Type::s32) refuse();
  three_sources({.op = Op::slct, .type = type, .source = sign}, type, type, type, sign);
}

bool KernelDecoder::take_comparison(Modifiers& m, Form& form) {
  for (const auto& [name, compare] : kComparisons)
    if (m.take(name)) {
      form.compare = compare;
      break;
    }
  bool is_unsigned_name = false;
  for (const auto& [name, compare] : kUnsignedComparisons)
    if (form.compare == Compare::none && m.take(name)) {
      form.compare = compare;
      is_unsigned_name = true;
    }
  if (form.compare == Compare::none) refuse();
  const std::string_view combine = m.take_any({"and", "or", "xor"});
  form.combine = combine == "and"   ? Combine::bool_and
                 : combine == "or"  ? Combine::bool_or
                 : combine == "xor" ? Combine::bool_xor
                                    : Combine::none;
  form.ftz = m.take("ftz");
  return is_unsigned_name;
}

void KernelDecoder::compare_operands(Form& form, Type type, std::size_t first) {
  instruction_.a = source(first, type);
  instruction_.b = source(first + 1, type);
  instruction_.immediate = static_cast<std::int64_t>(form.combine);
  if (form.combine == Combine::none) return;
  bool negated = false;
  instruction_.c = predicate_source(operand(first + 2), negated);
  if (negated) instruction_.immediate |= 4;
}

void KernelDecoder::set_predicate(Modifiers& m) {
  Form form{.op = Op::setp};
  const bool is_unsigned_name = take_comparison(m, form);
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(form.type) < 2 || (is_unsigned_name && !is_unsigned(form.type))) refuse();
  const std::size_t count = form.combine == Combine::none ? 3 : 4;
  expect_operands(count, count);
  compare_operands(form, form.type, 1);
  Operand first = operand(0);
  if (const std::string_view second = std::exchange(first.second, {}); !second.empty())
    instruction_.e = destination_name(second, Type::pred);
  instruction_.d = destination(first, Type::pred);
  emit(form);
}

/// set is a setp to a register of its own, and a selp.
void KernelDecoder::set_register(Modifiers& m) {
  Form form{.op = Op::setp};
  const bool is_unsigned_name = take_comparison(m, form);
  const Type result = m.take_type().value_or(Type::none);
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(form.type) < 2 || (is_unsigned_name && !is_unsigned(form.type))) refuse();
  if (result != Type::u32 && result != Type::s32 && result != Type::f32) refuse();
  const std::size_t count = form.combine == Combine::none ? 3 : 4;
  expect_operands(count, count);
  compare_operands(form, form.type, 1);
  const std::uint32_t condition = allocate(0);
  instruction_.d = condition;
  note(info_.written, condition, 0);
  emit(form);
  begin(*statement_);
  instruction_.a = constant(4, result == Type::f32 ? 0x3f800000u : 0xffffffffu);
  instruction_.b = constant(4, 0);
  instruction_.c = condition;
  note(info_.read, condition, 0);
  instruction_.d = destination(0, result);
  emit({.op = Op::selp, .type = result});
}

void KernelDecoder::test_property(Modifiers& m) {
  constexpr std::array<std::string_view, 6> kProperties = {"finite",     "infinite", "number",
                                                           "notanumber", "normal",   "subnormal"};
  std::int64_t property = 0;
  while (property < 6 && !m.take(kProperties[static_cast<std::size_t>(property)])) ++property;
  const Type type = m.take_type().value_or(Type::none);
  if (property == 6 || !m.done() || (type != Type::f32 && type != Type::f64)) refuse();
  expect_operands(2, 2);
  instruction_.immediate = property;
  instruction_.a = source(1, type);
  instruction_.d = destination(0, Type::pred);
  emit({.op = Op::testp, .type = type});
}

void KernelDecoder::convert(Modifiers& m) {
  Form form{.op = Op::cvt};
  for (const auto& [name, round] : kRoundings)
    if (m.take(name)) {
      form.round = round;
      break;
    }
  const bool saturates_finite = m.take("satfinite");
  form.relu = m.take("relu");
  form.ftz = m.take("ftz");
  form.sat = m.take("sat");
  if (!form.relu) form.relu = m.take("relu");
  form.type = m.take_type().value_or(Type::none);
  form.source = m.take_type().value_or(Type::none);
  if (!m.done() || form.type == Type::none || form.source == Type::none || is_untyped(form.type) ||
      is_untyped(form.source))
    refuse();
  if (form.type == Type::pred || form.source == Type::pred) refuse();
  if (saturates_finite != is_float8(form.type)) refuse();
  if (form.source == Type::f32 && (form.type == Type::bf16x2 || form.type == Type::f16x2 || is_float8(form.type))) {
    form.op = Op::cvt_pack;
    return two_sources(form, form.type, Type::f32, Type::f32);
  }
  expect_operands(2, 2);
  const auto [a, a_bytes] = wide_register(operand(1), form.source, false);
  const auto [d, d_bytes] = wide_register(operand(0), form.type, true);
  instruction_.a = a;
  instruction_.d = d;
  form.register_bytes = d_bytes;
  form.source_register_bytes = a_bytes;
  instruction_.conversion = {form.type, form.source, d_bytes, a_bytes, static_cast<std::uint8_t>(form.round)};
  emit(form);
}

void KernelDecoder::convert_address(Modifiers& m) {
  const bool from_generic = m.take("to");
  const Space space = take_space(m);
  if (space == Space::generic) refuse();
  const bool narrow = m.take("u32");
  if ((!narrow && !m.take("u64")) || !m.done()) refuse();
  if (narrow) fail(Fault::unsupported, "32-bit generic addresses are not supported");
  expect_operands(2, 2);
  instruction_.immediate = static_cast<std::int64_t>(window_of(space));
  instruction_.a = source(1, Type::u64);
  instruction_.d = destination(0, Type::u64);
  emit({.op = from_generic ? Op::generic_to_window : Op::window_to_generic, .type = Type::u64, .register_bytes = 8});
}

void KernelDecoder::is_space(Modifiers& m) {
  const Space space = take_space(m);
  if (space == Space::generic || !m.done()) refuse();
  expect_operands(2, 2);
  instruction_.a = source(1, Type::u64);
  instruction_.d = destination(0, Type::pred);
  emit({.op = Op::isspacep, .space = space});
}

}  // namespace librt::ptx
