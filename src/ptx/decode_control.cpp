// Branches, barriers, fences and the instructions in which lanes meet; and the table of all instructions.
#include <string_view>

#include "src/ptx/decoder.hpp"

namespace librt::ptx {

void KernelDecoder::branch(Modifiers& m) {
  m.take("uni");
  if (!m.done()) refuse();
  expect_operands(1, 1);
  if (operand(0).kind != Operand::Kind::name || operand(0).value != 0) bad_operand("a label is expected");
  label_uses_.push_back({nullptr, kernel_.code.size(), scope_, operand(0).name, statement_->line});
  instruction_.flow = Flow::branch;
  emit({.op = Op::nothing});
}

void KernelDecoder::branch_indexed(Modifiers& m) {
  if (!m.take("idx")) refuse();
  m.take("uni");
  if (!m.done()) refuse();
  expect_operands(2, 2);
  const Statement* table = nullptr;
  for (std::size_t scope = scope_; table == nullptr; scope = scopes_[scope].parent) {
    const auto found = scopes_[scope].target_lists.find(operand(1).name);
    if (found != scopes_[scope].target_lists.end()) table = found->second;
    if (scope == 0) break;
  }
  if (table == nullptr) bad_operand("the list of branch targets is not declared before its use");
  instruction_.a = source(0, Type::u32);
  std::uint32_t* list = new_list(table->targets.size());
  instruction_.immediate = static_cast<std::int64_t>(table->targets.size());
  for (std::size_t i = 0; i < table->targets.size(); ++i)
    label_uses_.push_back({list + i, kernel_.code.size(), scope_, table->targets[i], statement_->line});
  instruction_.flow = Flow::branch_table;
  emit({.op = Op::nothing});
}

void KernelDecoder::leave(Modifiers& m) {
  m.take("uni");
  if (!m.done()) refuse();
  expect_operands(0, 0);
  instruction_.flow = Flow::exit;
  emit({.op = Op::nothing});
}

void KernelDecoder::trap(Modifiers& m) {
  if (!m.done()) refuse();
  expect_operands(0, 0);
  emit({.op = Op::trap});
}

void KernelDecoder::barrier(Modifiers& m) {
  const bool is_bar = m.base() == "bar";
  if (is_bar && m.take("warp")) {
    if (!m.take("sync") || !m.done()) refuse();
    expect_operands(1, 1);
    instruction_.e = source(0, Type::b32);
    instruction_.flow = Flow::warp_mask;
    return emit({.op = Op::nothing});
  }
  m.take("cta");
  const std::string_view kind = m.take_any({"sync", "arrive", "red"});
  if (kind.empty()) refuse();
  instruction_.flow = Flow::barrier;
  std::size_t first = 0;
  bool reduces = false;
  if (kind == "red") {
    reduces = true;
    const std::string_view operation = m.take_any({"popc", "and", "or"});
    instruction_.barrier = operation == "popc"  ? BarrierOperation::reduce_popc
                           : operation == "and" ? BarrierOperation::reduce_and
                                                : BarrierOperation::reduce_or;
    instruction_.aligned = is_bar || m.take("aligned");
    if (operation.empty() || !m.take(operation == "popc" ? "u32" : "pred")) refuse();
    first = 1;
  } else {
    instruction_.barrier = kind == "sync" ? BarrierOperation::sync : BarrierOperation::arrive;
    instruction_.aligned = is_bar || m.take("aligned");
  }
  if (!m.done()) refuse();
  const std::size_t last = reduces ? 1 : 0;
  expect_operands(first + 1 + last + (kind == "arrive" ? 1 : 0), first + 2 + last);
  const std::size_t count = statement_->instruction.operands.size();
  instruction_.a = source(first, Type::u32);
  if (count == first + 2 + last) instruction_.b = source(first + 1, Type::u32);
  if (reduces) {
    instruction_.c = predicate_source(operand(count - 1), instruction_.operand_negated);
    instruction_.d = destination(0, instruction_.barrier == BarrierOperation::reduce_popc ? Type::u32 : Type::pred);
  }
  emit({.op = Op::nothing});
}

/// Warps run one at a time and CTAs that communicate run one after another, so every access is ordered as it is.
void KernelDecoder::fence(Modifiers& m) {
  info_.fence = true;
  if (m.base() == "membar") {
    if (m.take_any({"cta", "gl", "sys"}).empty() || !m.done()) refuse();
  } else if (m.take("proxy")) {
    info_.fence = false;
    if (m.take_any({"alias", "async"}).empty()) refuse();
    m.take_any({"global", "shared::cta", "shared::cluster"});
    if (!m.done()) refuse();
  } else {
    m.take_any({"sc", "acq_rel", "acquire", "release"});
    if (m.take_any({"cta", "cluster", "gpu", "sys"}).empty() || !m.done()) refuse();
  }
  expect_operands(0, 0);
  emit({.op = Op::nothing});
}

/// nanosleep and griddepcontrol: a launch is alone and time does not matter.
void KernelDecoder::pause(Modifiers& m) {
  if (m.base() == "nanosleep") {
    if (!m.take("u32") || !m.done()) refuse();
    expect_operands(1, 1);
    source(0, Type::u32);
  } else {
    if (m.take_any({"launch_dependents", "wait"}).empty() || !m.done()) refuse();
    expect_operands(0, 0);
  }
  emit({.op = Op::nothing});
}

void KernelDecoder::shuffle(Modifiers& m) {
  if (!m.take("sync")) refuse();
  const std::string_view mode = m.take_any({"up", "down", "bfly", "idx"});
  if (mode.empty() || !m.take("b32") || !m.done()) refuse();
  expect_operands(5, 5);
  instruction_.a = source(1, Type::b32);
  instruction_.b = source(2, Type::b32);
  instruction_.c = source(3, Type::b32);
  instruction_.e = source(4, Type::b32);
  Operand first = operand(0);
  if (const std::string_view second = std::exchange(first.second, {}); !second.empty())
    instruction_.target = destination_name(second, Type::pred);
  instruction_.d = destination(first, Type::b32);
  instruction_.flow = Flow::warp_mask;
  emit({.op = mode == "up"     ? Op::shfl_up
              : mode == "down" ? Op::shfl_down
              : mode == "bfly" ? Op::shfl_bfly
                               : Op::shfl_idx});
}

void KernelDecoder::vote(Modifiers& m) {
  if (!m.take("sync")) refuse();
  const std::string_view mode = m.take_any({"all", "any", "uni", "ballot"});
  const bool ballot = mode == "ballot";
  if (mode.empty() || !m.take(ballot ? "b32" : "pred") || !m.done()) refuse();
  expect_operands(3, 3);
  instruction_.a = predicate_source(operand(1), instruction_.operand_negated);
  instruction_.e = source(2, Type::b32);
  instruction_.d = destination(0, ballot ? Type::b32 : Type::pred);
  instruction_.flow = Flow::warp_mask;
  emit({.op = ballot ? Op::vote_ballot : mode == "all" ? Op::vote_all : mode == "any" ? Op::vote_any : Op::vote_uni});
}

void KernelDecoder::match(Modifiers& m) {
  const std::string_view mode = m.take_any({"any", "all"});
  if (mode.empty() || !m.take("sync")) refuse();
  const Type type = m.take_type().value_or(Type::none);
  if (!m.done() || (type != Type::b32 && type != Type::b64)) refuse();
  expect_operands(3, 3);
  instruction_.a = source(1, type);
  instruction_.e = source(2, Type::b32);
  Operand first = operand(0);
  const std::string_view second = std::exchange(first.second, {});
  if (!second.empty() && mode == "any") refuse();
  if (!second.empty()) instruction_.target = destination_name(second, Type::pred);
  instruction_.d = destination(first, Type::b32);
  instruction_.flow = Flow::warp_mask;
  emit({.op = mode == "any" ? Op::match_any : Op::match_all, .type = type});
}

void KernelDecoder::reduce(Modifiers& m) {
  if (!m.take("sync")) refuse();
  const std::string_view mode = m.take_any({"add", "min", "max", "and", "or", "xor"});
  const Type type = m.take_type().value_or(Type::none);
  if (mode.empty() || !m.done() || bytes_of(type) != 4) refuse();
  expect_operands(3, 3);
  instruction_.a = source(1, type);
  instruction_.e = source(2, Type::b32);
  instruction_.d = destination(0, type);
  instruction_.flow = Flow::warp_mask;
  emit({.op = mode == "add"   ? Op::redux_add
              : mode == "min" ? Op::redux_min
              : mode == "max" ? Op::redux_max
              : mode == "and" ? Op::redux_and
              : mode == "or"  ? Op::redux_or
                              : Op::redux_xor,
        .type = type});
}

void KernelDecoder::elect(Modifiers& m) {
  if (!m.take("sync") || !m.done()) refuse();
  expect_operands(2, 2);
  Operand first = operand(0);
  const std::string_view second = std::exchange(first.second, {});
  if (second.empty()) bad_operand("'d|p' is expected");
  instruction_.e = source(1, Type::b32);
  instruction_.target = destination_name(second, Type::pred);
  instruction_.d = destination(first, Type::b32);
  instruction_.flow = Flow::warp_mask;
  emit({.op = Op::elect});
}

void KernelDecoder::active_mask(Modifiers& m) {
  if (!m.take("b32") || !m.done()) refuse();
  expect_operands(1, 1);
  instruction_.d = destination(0, Type::b32);
  emit({.op = Op::activemask});
}

const std::map<std::string_view, KernelDecoder::DecodeFunction>& KernelDecoder::decoders() {
  using K = KernelDecoder;
  // Never destroyed: a thread may load a kernel while the process exits.
  static const auto& table = *new const std::map<std::string_view, DecodeFunction>{
      {"abs", &K::absolute_or_negate},
      {"activemask", &K::active_mask},
      {"add", &K::add_or_subtract},
      {"addc", &K::carry_arithmetic},
      {"and", &K::bitwise},
      {"atom", &K::atomic},
      {"bar", &K::barrier},
      {"barrier", &K::barrier},
      {"bfe", &K::bit_field},
      {"bfi", &K::bit_field},
      {"bfind", &K::count_bits},
      {"bra", &K::branch},
      {"brev", &K::count_bits},
      {"brx", &K::branch_indexed},
      {"clz", &K::count_bits},
      {"cnot", &K::bitwise},
      {"copysign", &K::copy_sign},
      {"cos", &K::approximation},
      {"cp", &K::copy_async},
      {"createpolicy", &K::create_policy},
      {"cvt", &K::convert},
      {"cvta", &K::convert_address},
      {"div", &K::divide},
      {"elect", &K::elect},
      {"ex2", &K::approximation},
      {"exit", &K::leave},
      {"fence", &K::fence},
      {"fma", &K::multiply_add},
      {"griddepcontrol", &K::pause},
      {"isspacep", &K::is_space},
      {"ld", &K::load},
      {"ldmatrix", &K::matrix_transfer},
      {"lg2", &K::approximation},
      {"lop3", &K::logic3},
      {"mad", &K::multiply_add},
      {"match", &K::match},
      {"max", &K::minimum_or_maximum},
      {"membar", &K::fence},
      {"min", &K::minimum_or_maximum},
      {"mma", &K::matrix_multiply},
      {"mov", &K::move},
      {"mul", &K::multiply},
      {"nanosleep", &K::pause},
      {"neg", &K::absolute_or_negate},
      {"not", &K::bitwise},
      {"or", &K::bitwise},
      {"popc", &K::count_bits},
      {"prefetch", &K::prefetch},
      {"prefetchu", &K::prefetch},
      {"prmt", &K::permute},
      {"rcp", &K::approximation},
      {"red", &K::atomic},
      {"redux", &K::reduce},
      {"rem", &K::remainder},
      {"ret", &K::leave},
      {"rsqrt", &K::approximation},
      {"sad", &K::sum_of_differences},
      {"selp", &K::select},
      {"set", &K::set_register},
      {"setp", &K::set_predicate},
      {"shf", &K::funnel_shift},
      {"shfl", &K::shuffle},
      {"shl", &K::shift},
      {"shr", &K::shift},
      {"sin", &K::approximation},
      {"slct", &K::select_by_sign},
      {"sqrt", &K::approximation},
      {"st", &K::store},
      {"stmatrix", &K::matrix_transfer},
      {"sub", &K::add_or_subtract},
      {"subc", &K::carry_arithmetic},
      {"tanh", &K::approximation},
      {"testp", &K::test_property},
      {"trap", &K::trap},
      {"vote", &K::vote},
      {"xor", &K::bitwise},
  };
  return table;
}

}  // namespace librt::ptx
