// Labels of instructions in which lanes meet: votes, reductions, and matrices (layouts as in handlers/tensor.inl).
#include <cstring>

#include "src/ptx/taint_instrument.hpp"

namespace librt::ptx {
namespace {

/// out[column][row] = in[row][column] of an 8x8 matrix of 2-byte elements.
void transpose(const Labels (&in)[128], Labels (&out)[128]) {
  for (unsigned row = 0; row < 8; ++row)
    for (unsigned column = 0; column < 8; ++column)
      std::memcpy(out + 2 * (8 * column + row), in + 2 * (8 * row + column), 2);
}

}  // namespace

/// A lane whose value is clean and decides makes the result clean; a ballot keeps the lanes of each byte apart.
void TaintInstrument::vote(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask) {
  WarpShadow& registers = shadow(warp);
  std::uint32_t values;
  std::memcpy(&values, warp.registers + in.a, sizeof values);
  if (in.operand_negated) values = ~values;
  Word ballot = 0;
  bool clean_true = false, clean_false = false;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    const Labels labels = registers.any({in.a, 0}, lane);
    ballot |= Word{labels} << (8 * (lane / 8));
    if (labels == 0) (in_mask(values, lane) ? clean_true : clean_false) = true;
  }
  const Op op = info.form.op;
  const bool decided = (op == Op::vote_all && clean_false) || (op == Op::vote_any && clean_true) ||
                       (op == Op::vote_uni && clean_true && clean_false);
  const Word result = op == Op::vote_ballot ? ballot : decided ? 0 : any_of(ballot);
  for (const Register& r : info.written)
    for (unsigned lane = 0; lane < kLanes; ++lane)
      if (in_mask(mask, lane)) registers.set(r, lane, result);
}

void TaintInstrument::unite_lanes(Warp& warp, const InstructionInfo& info, std::uint32_t mask) {
  WarpShadow& registers = shadow(warp);
  Labels all = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    for (const Register& r : info.read)
      if (in_mask(mask, lane)) all |= registers.any(r, lane);
  for (const Register& r : info.written)
    for (unsigned lane = 0; lane < kLanes; ++lane)
      if (in_mask(mask, lane)) registers.set(r, lane, in_each(all, r.bytes == 0 ? 1 : r.bytes));
}

/// An accumulator has the labels of its row of A, its column of B and its own old ones: 0 * x is labelled as x is.
void TaintInstrument::multiply_matrices(Warp& warp, const Instruction& in, unsigned halves) {
  WarpShadow& registers = shadow(warp);
  const std::uint32_t* a_list = in.list;
  const std::uint32_t* b_list = a_list + 2 * halves;
  const std::uint32_t* c_list = b_list + halves;
  const std::uint32_t* d_list = c_list + 4;
  const auto unite_eights = [&](std::uint32_t offset, std::uint32_t* eights) {
    if (!registers.labelled(offset)) return;
    std::uint64_t fragment[16];
    std::memcpy(fragment, registers.lanes({offset, 4}), sizeof fragment);
    for (unsigned i = 0; i < 8; ++i) {
      const std::uint64_t both = fragment[2 * i] | fragment[2 * i + 1];
      eights[i] |= spread_bytes(static_cast<std::uint32_t>(both | both >> 32));
    }
  };
  std::uint32_t columns[8] = {}, rows[16] = {};
  for (unsigned h = 0; h < halves; ++h) {
    unite_eights(b_list[h], columns);
    unite_eights(a_list[2 * h], rows);
    unite_eights(a_list[2 * h + 1], rows + 8);
  }
  LaneLabels results[4] = {};  // written last: a destination may be one of the sources
  for (unsigned p = 0; p < 4; ++p) {
    registers.add_to({c_list[p], 4}, results[p]);
    const std::uint32_t of_columns[4] = {columns[p % 2], columns[2 + p % 2], columns[4 + p % 2], columns[6 + p % 2]};
    for (unsigned g = 0; g < 8; ++g)
      for (unsigned t = 0; t < 4; ++t)
        results[p][4 * g + t] = spread_bytes(results[p][4 * g + t]) | rows[8 * (p / 2) + g] | of_columns[t];
  }
  for (unsigned p = 0; p < 4; ++p) registers.fill({d_list[p], 4}, results[p], kFullWarp);
}

void TaintInstrument::load_matrices(Warp& warp, const Instruction& in, const InstructionInfo& info) {
  const bool transposed = info.form.op == Op::ldmatrix_trans;
  Labels loaded[4][128] = {};
  // An address without labels, inside shared memory: the rule.
  const bool clean_address = !shadow(warp).labelled(in.a);
  for (unsigned row = 0; row < 8u * info.form.count; ++row) {
    Labels* to = loaded[row / 8] + 16 * (row % 8);
    const std::uint64_t address = access_address(warp, in, row), offset = address - kSharedBase;
    if (clean_address && offset % 16 == 0 && offset < shared_.size() && shared_.size() - offset >= 16) {
      std::memcpy(to, shared_.data() + offset, 16);
      continue;
    }
    const Labels of_address = address_labels(warp, in, row);
    const LabelRange from = place(warp, in, row, Space::shared, address, 16, AccessMode::read);
    std::memcpy(to, from.labels, 16);
    for (unsigned i = 0; i < 16; ++i) to[i] |= of_address;
  }
  for (unsigned m = 0; m < info.form.count; ++m) {
    const std::uint32_t d = info.form.count == 1 ? in.d : in.list[m];
    if (transposed) {
      Labels turned[128];
      transpose(loaded[m], turned);
      shadow(warp).set_all(d, turned);
    } else {
      shadow(warp).set_all(d, loaded[m]);
    }
  }
}

void TaintInstrument::store_matrices(Warp& warp, const Instruction& in, const InstructionInfo& info) {
  const bool transposed = info.form.op == Op::stmatrix_trans;
  for (unsigned m = 0; m < info.form.count; ++m) {
    Labels value[128], turned[128];
    shadow(warp).get_all(info.form.count == 1 ? in.d : in.list[m], value);
    if (transposed) transpose(value, turned);
    for (unsigned i = 0; i < 8; ++i) {
      const unsigned row = 8 * m + i;
      const Labels of_address = address_labels(warp, in, row);
      Labels* labels = (transposed ? turned : value) + 16 * i;
      for (unsigned byte = 0; byte < 16; ++byte) labels[byte] |= of_address;
      write(place(warp, in, row, Space::shared, access_address(warp, in, row), 16, AccessMode::write), labels, 16);
    }
  }
}

}  // namespace librt::ptx
