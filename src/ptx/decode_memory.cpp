// Loads, stores, atomics, asynchronous copies and matrix instructions.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "src/ptx/decoder.hpp"

namespace librt::ptx {
namespace {

Space take_state_space(Modifiers& m) {
  const std::string_view name =
      m.take_any({"global", "shared::cta", "shared", "local", "param::entry", "param", "const"});
  if (name == "global") return Space::global;
  if (name.starts_with("shared")) return Space::shared;
  if (name == "local") return Space::local;
  if (name.starts_with("param")) return Space::param;
  return name == "const" ? Space::constant : Space::generic;
}

bool take_scope(Modifiers& m, bool& is_cta) {
  const std::string_view scope = m.take_any({"cta", "cluster", "gpu", "sys"});
  is_cta = scope == "cta";
  return !scope.empty();
}

bool take_order(Modifiers& m, bool returns, Ordering& ordering) {
  const std::string_view name =
      returns ? m.take_any({"relaxed", "acquire", "release", "acq_rel"}) : m.take_any({"relaxed", "release"});
  ordering = name == "acquire"   ? Ordering::acquire
             : name == "release" ? Ordering::release
             : name == "acq_rel" ? Ordering::acq_rel
                                 : Ordering::relaxed;
  return !name.empty();
}

/// Cache hints change no result.
bool take_cache_hints(Modifiers& m) {
  m.take_any({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate"});
  m.take_any({"L2::evict_normal", "L2::evict_first", "L2::evict_last"});
  const bool policy = m.take("L2::cache_hint");
  m.take_any({"L2::64B", "L2::128B", "L2::256B"});
  return policy;
}

}  // namespace

KernelDecoder::Access KernelDecoder::take_access(Modifiers& m, bool is_load) {
  Access access;
  const bool is_volatile = m.take("volatile");
  if (is_volatile) {
    access.ordered = true;
    info_.ordering = Ordering::relaxed;
  } else if (!m.take("weak")) {
    if (m.take("relaxed"))
      info_.ordering = Ordering::relaxed;
    else if (m.take(is_load ? "acquire" : "release"))
      info_.ordering = is_load ? Ordering::acquire : Ordering::release;
    access.ordered = info_.ordering != Ordering::weak;
    if (access.ordered && !take_scope(m, info_.cta_scope)) refuse();
  }
  access.space = take_state_space(m);
  if (!access.ordered) {
    if (is_load)
      m.take_any({"ca", "cg", "cs", "lu", "cv"});
    else
      m.take_any({"wb", "cg", "cs", "wt"});
  }
  if (is_load && m.take("nc") && (access.space != Space::global || access.ordered)) refuse();
  if (!is_volatile && take_cache_hints(m)) access.policies = 1;
  return access;
}

void KernelDecoder::load(Modifiers& m) {
  transfer(m, true);
}
void KernelDecoder::store(Modifiers& m) {
  transfer(m, false);
}

void KernelDecoder::transfer(Modifiers& m, bool is_load) {
  const Access access = take_access(m, is_load);
  const std::string_view vector = m.take_any({"v2", "v4"});
  const Type type = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(type) == 0 || bytes_of(type) > 8) refuse();
  if (is_float(type) && type != Type::f32 && type != Type::f64) refuse();
  const std::size_t count = vector.empty() ? 1 : vector == "v2" ? 2 : 4;
  if (count * bytes_of(type) > 16) refuse();
  expect_operands(2 + access.policies, 2 + access.policies);
  if (access.policies != 0) source(2, Type::b64);
  Form form{
      .op = is_load ? Op::ld : Op::st, .type = type, .count = static_cast<std::uint8_t>(count), .space = access.space};
  address(operand(is_load ? 1 : 0), access.space);
  const Operand& value = operand(is_load ? 0 : 1);
  if (count == 1) {
    const auto [offset, bytes] = wide_register(value, type, is_load);
    instruction_.d = offset;
    form.register_bytes = bytes;
  } else {
    if (value.kind != Operand::Kind::vector || value.elements.size() != count)
      bad_operand(fmt::format("a vector of {} registers is expected", count));
    std::uint32_t* list = new_list(count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto [offset, bytes] = wide_register(value.elements[i], type, is_load);
      list[i] = offset;
      const bool sink = offset == sink_;
      if (form.register_bytes != 0 && !sink && form.register_bytes != bytes)
        bad_operand("the registers differ in width");
      if (!sink || i + 1 == count) form.register_bytes = std::max(form.register_bytes, bytes);
    }
  }
  info_.access = is_load ? MemoryAccess::load : MemoryAccess::store;
  info_.space = access.space;
  info_.access_bytes = static_cast<std::uint32_t>(count * bytes_of(type));
  if (access.ordered && (access.space == Space::global || access.space == Space::generic)) kernel_.orders_ctas = true;
  emit(form);
}

void KernelDecoder::atomic(Modifiers& m) {
  const bool returns = m.base() == "atom";
  // Semantics and scope are optional, and independent: "atom.relaxed.global" is what NVRTC writes.
  bool ordered = take_order(m, returns, info_.ordering);
  bool scoped = take_scope(m, info_.cta_scope);
  Form form{.space = take_state_space(m)};
  if (form.space != Space::generic && form.space != Space::global && form.space != Space::shared) refuse();
  const std::string_view operation = m.take_any({"add", "min", "max", "and", "or", "xor", "inc", "dec", "exch", "cas"});
  // Older inline assembly writes both after the operation, "atom.add.release.gpu.u32".
  if (!ordered && !scoped) {
    ordered = take_order(m, returns, info_.ordering);
    scoped = take_scope(m, info_.cta_scope);
  }
  if (operation.empty() || (!returns && (operation == "exch" || operation == "cas"))) refuse();
  form.op = operation == "add"    ? Op::atom_add
            : operation == "min"  ? Op::atom_min
            : operation == "max"  ? Op::atom_max
            : operation == "and"  ? Op::atom_and
            : operation == "or"   ? Op::atom_or
            : operation == "xor"  ? Op::atom_xor
            : operation == "inc"  ? Op::atom_inc
            : operation == "dec"  ? Op::atom_dec
            : operation == "exch" ? Op::atom_exch
                                  : Op::atom_cas;
  form.type = m.take_type().value_or(Type::none);
  if (!m.done() || bytes_of(form.type) < 4) refuse();
  const std::size_t first = returns ? 1 : 0;
  const std::size_t count = first + (operation == "cas" ? 3 : 2);
  expect_operands(count, count);
  address(operand(first), form.space);
  instruction_.b = source(first + 1, form.type);
  if (operation == "cas") instruction_.c = source(first + 2, form.type);
  if (returns) instruction_.d = destination(0, form.type);
  info_.access = MemoryAccess::atomic;
  info_.space = form.space;
  info_.access_bytes = bytes_of(form.type);
  if (form.space != Space::shared) kernel_.orders_ctas = true;
  emit(form);
}

void KernelDecoder::copy_async(Modifiers& m) {
  if (!m.take("async")) refuse();
  if (m.take("commit_group")) {
    if (!m.done()) refuse();
    expect_operands(0, 0);
    return emit({.op = Op::cp_async_commit});
  }
  if (m.take("wait_all")) {
    if (!m.done()) refuse();
    expect_operands(0, 0);
    instruction_.target = 1;
    return emit({.op = Op::cp_async_wait});
  }
  if (m.take("wait_group")) {
    if (!m.done()) refuse();
    expect_operands(1, 1);
    const Operand& groups = operand(0);
    if (groups.kind != Operand::Kind::integer || groups.value < 0 || groups.value > 0xffff)
      bad_operand("the number of groups must be a number from 0 to 65535");
    instruction_.immediate = groups.value;
    return emit({.op = Op::cp_async_wait});
  }
  copy_async_bytes(m);
}

void KernelDecoder::copy_async_bytes(Modifiers& m) {
  const bool bypasses_l1 = m.take("cg");
  if (!bypasses_l1 && !m.take("ca")) refuse();
  if (!m.take("shared") && !m.take("shared::cta")) refuse();
  if (!m.take("global")) refuse();
  const bool policy = m.take("L2::cache_hint");
  m.take_any({"L2::64B", "L2::128B", "L2::256B"});
  if (!m.done()) refuse();
  const std::size_t extra = policy ? 1 : 0;
  expect_operands(3 + extra, 4 + extra);
  const Operand& size = operand(2);
  const bool possible = size.kind == Operand::Kind::integer &&
                        (size.value == 16 || (!bypasses_l1 && (size.value == 4 || size.value == 8)));
  if (!possible) bad_operand(bypasses_l1 ? "the size must be 16" : "the size must be 4, 8 or 16");
  if (policy) source(statement_->instruction.operands.size() - 1, Type::b64);
  address(operand(0), Space::shared);
  instruction_.d = instruction_.a;
  instruction_.destination_is_64 = !instruction_.address_is_32;
  if (instruction_.immediate != static_cast<std::int32_t>(instruction_.immediate))
    bad_operand("the displacement is too large");
  instruction_.displacement = static_cast<std::int32_t>(instruction_.immediate);
  address(operand(1), Space::global);
  instruction_.target = static_cast<std::uint32_t>(size.value);
  if (statement_->instruction.operands.size() == 4 + extra) {
    const Operand& fourth = operand(3);
    const auto found = fourth.kind == Operand::Kind::name ? find_register(fourth.name) : std::nullopt;
    if (found && found->type == Type::pred)
      instruction_.e = predicate_source(fourth, instruction_.operand_negated);
    else
      instruction_.c = source(fourth, Type::u32);
  }
  info_.access = MemoryAccess::copy;
  info_.space = Space::global;
  info_.access_bytes = instruction_.target;
  emit({.op = Op::cp_async});
}

void KernelDecoder::matrix_transfer(Modifiers& m) {
  const bool is_load = m.base() == "ldmatrix";
  if (!m.take("sync") || !m.take("aligned")) refuse();
  // The order of the shape, the number and .trans differs between generators; each may come once.
  std::uint8_t count = 0;
  bool shape = false, transposed = false;
  for (bool progress = true; progress;) {
    progress = false;
    if (!shape && m.take("m8n8")) shape = progress = true;
    const std::string_view number = count == 0 ? m.take_any({"x1", "x2", "x4"}) : std::string_view{};
    if (!number.empty()) {
      count = static_cast<std::uint8_t>(number[1] - '0');
      progress = true;
    }
    if (!transposed && m.take("trans")) transposed = progress = true;
  }
  Space space = Space::generic;
  if (m.take("shared") || m.take("shared::cta")) space = Space::shared;
  if (!shape || count == 0 || !m.take("b16") || !m.done()) refuse();
  if (space == Space::generic) fail(Fault::unsupported, "a generic address is not supported, use .shared");
  expect_operands(2, 2);
  address(operand(is_load ? 1 : 0), space);
  const Operand& value = operand(is_load ? 0 : 1);
  if (value.kind != Operand::Kind::vector || value.elements.size() != count)
    bad_operand(fmt::format("a vector of {} registers is expected", count));
  std::uint32_t* list = new_list(count);
  for (std::size_t i = 0; i < count; ++i)
    list[i] = is_load ? destination(value.elements[i], Type::b32) : source(value.elements[i], Type::b32);
  instruction_.d = list[0];
  instruction_.flow = Flow::warp_all;
  info_.access = is_load ? MemoryAccess::matrix_load : MemoryAccess::store;
  info_.space = space;
  info_.access_bytes = 16;
  const Op op =
      is_load ? (transposed ? Op::ldmatrix_trans : Op::ldmatrix) : (transposed ? Op::stmatrix_trans : Op::stmatrix);
  emit({.op = op, .type = Type::b16, .count = count});
}

void KernelDecoder::matrix_multiply(Modifiers& m) {
  if (!m.take("sync") || !m.take("aligned")) refuse();
  const std::string_view shape = m.take_any({"m16n8k16", "m16n8k8"});
  if (shape.empty() || !m.take("row") || !m.take("col") || !m.take("f32")) refuse();
  const Type input = m.take_type().value_or(Type::none);
  const Type second = m.take_type().value_or(Type::none);
  if ((input != Type::bf16 && input != Type::f16) || second != input || !m.take("f32") || !m.done()) refuse();
  const std::size_t halves = shape == "m16n8k16" ? 2 : 1;
  expect_operands(4, 4);
  const std::size_t sizes[4] = {4, 2 * halves, halves, 4};
  for (std::size_t i = 0; i < 4; ++i)
    if (operand(i).kind != Operand::Kind::vector || operand(i).elements.size() != sizes[i])
      bad_operand(fmt::format("operand {} must be a vector of {} registers", i + 1, sizes[i]));
  std::uint32_t* list = new_list(sizes[1] + sizes[2] + 8);
  std::uint32_t* next = list;
  for (const Operand& element : operand(1).elements) *next++ = source(element, Type::b32);
  for (const Operand& element : operand(2).elements) *next++ = source(element, Type::b32);
  for (const Operand& element : operand(3).elements) *next++ = source(element, Type::f32);
  for (const Operand& element : operand(0).elements) *next++ = destination(element, Type::f32);
  instruction_.flow = Flow::warp_all;
  emit({.op = halves == 2 ? Op::mma_m16n8k16 : Op::mma_m16n8k8, .type = Type::f32, .source = input});
}

void KernelDecoder::prefetch(Modifiers& m) {
  if (m.base() == "prefetchu") {
    if (!m.take("L1") || !m.done()) refuse();
    expect_operands(1, 1);
    address(operand(0), Space::generic);
    return emit({.op = Op::nothing});
  }
  Space space = Space::generic;
  if (m.take("global")) space = Space::global;
  if (m.take("local")) space = Space::local;
  const std::string_view level = m.take_any({"L1", "L2", "L2::evict_last", "L2::evict_normal"});
  if (level.empty() || !m.done()) refuse();
  expect_operands(1, 1);
  address(operand(0), space);
  emit({.op = Op::nothing});
}

/// A policy is opaque; it is only ever passed to an instruction that ignores it.
void KernelDecoder::create_policy(Modifiers& m) {
  if (!m.take("fractional")) refuse();
  const std::string_view first =
      m.take_any({"L2::evict_last", "L2::evict_normal", "L2::evict_first", "L2::evict_unchanged"});
  m.take_any({"L2::evict_first", "L2::evict_unchanged"});
  if (first.empty() || !m.take("b64") || !m.done()) refuse();
  expect_operands(1, 2);
  if (statement_->instruction.operands.size() == 2) source(1, Type::f32);
  instruction_.a = constant(8, 1);
  instruction_.d = destination(0, Type::b64);
  emit({.op = Op::move, .type = Type::b64});
}

}  // namespace librt::ptx
