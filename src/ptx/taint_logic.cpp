// Labels of bitwise operations, also of predicates: clean where a clean operand decides.
#include <algorithm>
#include <array>
#include <cstring>

#include "src/ptx/taint_instrument.hpp"

namespace librt::ptx {
namespace {

/// Whether bit `operand` of the index (4, 2 or 1) can change the result while the bits of `free` may be anything.
bool matters(unsigned table, unsigned index, unsigned operand, unsigned free) {
  for (unsigned others = 0; others < 8; ++others) {
    const unsigned at = (index & ~free) | (others & free);
    if (((table >> (at & ~operand)) & 1u) != ((table >> (at | operand)) & 1u)) return true;
  }
  return false;
}

/// The labels of one byte (or one predicate) of a bitwise operation.
Labels logic_labels(unsigned table, const std::array<unsigned, 3>& values, const std::array<Labels, 3>& labels,
                    unsigned bits) {
  unsigned free = 0;
  for (unsigned k = 0; k < 3; ++k)
    if (labels[k] != 0) free |= 4u >> k;
  Labels result = 0;
  for (unsigned bit = 0; bit < bits; ++bit) {
    const unsigned index = ((values[0] >> bit) & 1u) * 4 + ((values[1] >> bit) & 1u) * 2 + ((values[2] >> bit) & 1u);
    for (unsigned k = 0; k < 3; ++k)
      if (labels[k] != 0 && matters(table, index, 4u >> k, free)) result |= labels[k];
  }
  return result;
}

}  // namespace

/// A byte of an operand reaches the result of `and` unless all bits of the other one's are clean zeros, that of `or`
/// unless they are clean ones.
void TaintInstrument::logic_bytes(Warp& warp, const Instruction& in, unsigned table, std::uint8_t bytes,
                                  std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  const std::size_t size = std::size_t{bytes} * kLanes;
  if (table == truth::kNot) return labels.store({in.d, bytes}, labels.lanes({in.a, bytes}), mask);
  const Labels* a = labels.lanes({in.a, bytes});
  const Labels* b = labels.lanes({in.b, bytes});
  Labels result[8 * kLanes];
  if (table == truth::kXor) {
    for (std::size_t i = 0; i < size; ++i) result[i] = a[i] | b[i];
  } else {
    const auto* of_a = reinterpret_cast<const std::uint8_t*>(warp.registers + in.a);
    const auto* of_b = reinterpret_cast<const std::uint8_t*>(warp.registers + in.b);
    const std::uint8_t blocks = table == truth::kAnd ? 0 : 0xff;
    for (std::size_t i = 0; i < size; ++i) {
      const Labels a_passes = (b[i] | (of_b[i] ^ blocks)) != 0 ? 0xff : 0;
      const Labels b_passes = (a[i] | (of_a[i] ^ blocks)) != 0 ? 0xff : 0;
      result[i] = static_cast<Labels>((a[i] & a_passes) | (b[i] & b_passes));
    }
  }
  labels.store({in.d, bytes}, result, mask);
}

void TaintInstrument::logic(Warp& warp, const Instruction& in, const InstructionInfo& info, unsigned table,
                            std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  const bool predicates = info.form.type == Type::pred;
  const auto bytes = static_cast<std::uint8_t>(predicates ? 0 : std::max(2u, bytes_of(info.form.type)));
  const unsigned operands = info.form.op == Op::lop3 ? 3 : info.form.op == Op::bit_not ? 1 : 2;
  if (!predicates && operands < 3) return logic_bytes(warp, in, table, bytes, mask);
  const std::uint32_t offsets[3] = {in.a, in.b, in.c};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    Word values[3] = {}, sources[3] = {};
    for (unsigned k = 0; k < operands; ++k) {
      sources[k] = labels.get({offsets[k], bytes}, lane);
      if (predicates) {
        std::uint32_t lanes;
        std::memcpy(&lanes, warp.registers + offsets[k], sizeof lanes);
        values[k] = (lanes >> lane) & 1u;
      } else {
        std::memcpy(&values[k], warp.registers + offsets[k] + lane * bytes, bytes);
      }
    }
    Word result = 0;
    for (unsigned byte = 0; byte < (predicates ? 1u : bytes); ++byte) {
      const auto part = [byte](Word word) { return static_cast<Labels>(word >> (8 * byte)); };
      result |= Word{logic_labels(table, {part(values[0]), part(values[1]), part(values[2])},
                                  {part(sources[0]), part(sources[1]), part(sources[2])}, predicates ? 1 : 8)}
                << (8 * byte);
    }
    labels.set({in.d, bytes}, lane, result);
  }
}

/// setp: the comparison, and its boolean operation with a predicate, which decides where it is clean.
void TaintInstrument::compare(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  const auto bytes = static_cast<std::uint8_t>(std::max(2u, bytes_of(info.form.type)));
  const Register a{in.a, bytes}, b{in.b, bytes};
  if (info.form.combine == Combine::none) return unite(warp, in, info, mask);
  // The comparison alone, by its own handler, into a predicate that is nobody's.
  Instruction alone = in;
  alone.immediate = 0;
  alone.d = alone.e = 0;
  for (const Register& r : {a, b})
    std::memcpy(scratch_.registers + r.offset, warp.registers + r.offset, std::size_t{bytes} * kLanes);
  alone.run(scratch_, alone, kFullWarp);
  std::uint32_t compared, operand;
  std::memcpy(&compared, scratch_.registers, sizeof compared);
  std::memset(scratch_.registers, 0, sizeof compared);
  for (const Register& r : {a, b}) std::memset(scratch_.registers + r.offset, 0, std::size_t{bytes} * kLanes);
  std::memcpy(&operand, warp.registers + in.c, sizeof operand);
  if ((in.immediate & 4) != 0) operand = ~operand;
  const unsigned table = info.form.combine == Combine::bool_and  ? truth::kAnd
                         : info.form.combine == Combine::bool_or ? truth::kOr
                                                                 : truth::kXor;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    const auto of_comparison = static_cast<Labels>(labels.any(a, lane) | labels.any(b, lane));
    const Labels of_operand = labels.any({in.c, 0}, lane);
    const unsigned value = (compared >> lane) & 1u, other = (operand >> lane) & 1u;
    labels.set({in.d, 0}, lane, logic_labels(table, {value, other, 0}, {of_comparison, of_operand, 0}, 1));
    if (in.e != 0)
      labels.set({in.e, 0}, lane, logic_labels(table, {value ^ 1u, other, 0}, {of_comparison, of_operand, 0}, 1));
  }
}

}  // namespace librt::ptx
