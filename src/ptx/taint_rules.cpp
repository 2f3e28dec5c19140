// Labels of instructions that compute each lane from its own registers (and of shuffles, which only move bits).
#include <algorithm>
#include <array>
#include <cstring>

#include "src/ptx/taint_instrument.hpp"

namespace librt::ptx {
namespace {

unsigned width(InstructionInfo::Register r) {
  return r.bytes == 0 ? 1 : r.bytes;
}

bool is_shuffle(Op op) {
  return op == Op::shfl_up || op == Op::shfl_down || op == Op::shfl_bfly || op == Op::shfl_idx;
}

bool is_packed(Type type) {
  return type == Type::f16x2 || type == Type::bf16x2;
}

}  // namespace

void TaintInstrument::registers(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask) {
  if (!any_labelled(warp, info.read)) return clear(warp, info.written, mask);
  const Form& form = info.form;
  const Register b{in.b, 4}, c{in.c, 4}, e{in.e, 4};
  switch (form.op) {
    case Op::move:
      if (form.type == Type::pred) return unite(warp, in, info, mask);
      return move_bits(warp, in, info, {}, mask);
    case Op::pack:
    case Op::unpack:
    case Op::brev:
      return move_bits(warp, in, info, {}, mask);
    case Op::cvt:
      if (is_integer(form.type) && is_integer(form.source) && !form.sat) return move_bits(warp, in, info, {}, mask);
      if (is_float8(form.type) || is_float8(form.source)) return convert_halves(warp, in, info, mask);
      return unite(warp, in, info, mask);
    case Op::cvt_pack:
      return is_float8(form.type) ? convert_halves(warp, in, info, mask) : pack_halves(warp, in, mask);
    case Op::shl:
    case Op::shr:
      return move_bits(warp, in, info, std::array{b}, mask);
    case Op::shf_l_wrap:
    case Op::shf_l_clamp:
    case Op::shf_r_wrap:
    case Op::shf_r_clamp:
    case Op::prmt:
    case Op::prmt_f4e:
    case Op::prmt_b4e:
    case Op::prmt_rc8:
    case Op::prmt_ecl:
    case Op::prmt_ecr:
    case Op::prmt_rc16:
    case Op::slct:
      return move_bits(warp, in, info, std::array{c}, mask);
    case Op::bfe:
    case Op::shfl_up:
    case Op::shfl_down:
    case Op::shfl_bfly:
    case Op::shfl_idx:
      return move_bits(warp, in, info, std::array{b, c}, mask);
    case Op::bfi:
      return move_bits(warp, in, info, std::array{c, e}, mask);
    case Op::selp:
      return move_bits(warp, in, info, std::array{Register{in.c, 0}}, mask);
    case Op::bit_and:
      return logic(warp, in, info, truth::kAnd, mask);
    case Op::bit_or:
      return logic(warp, in, info, truth::kOr, mask);
    case Op::bit_xor:
      return logic(warp, in, info, truth::kXor, mask);
    case Op::bit_not:
      return logic(warp, in, info, truth::kNot, mask);
    case Op::lop3:
      return logic(warp, in, info, static_cast<unsigned>(in.immediate), mask);
    case Op::setp:
      return compare(warp, in, info, mask);
    case Op::vote_all:
    case Op::vote_any:
    case Op::vote_uni:
    case Op::vote_ballot:
      return vote(warp, in, info, mask);
    case Op::match_any:
    case Op::match_all:
    case Op::redux_add:
    case Op::redux_min:
    case Op::redux_max:
    case Op::redux_and:
    case Op::redux_or:
    case Op::redux_xor:
      return unite_lanes(warp, info, mask);
    case Op::elect:
      return clear(warp, info.written, mask);  // who is there is control flow
    case Op::mma_m16n8k16:
      return multiply_matrices(warp, in, 2);
    case Op::mma_m16n8k8:
      return multiply_matrices(warp, in, 1);
    default:
      return unite(warp, in, info, mask);
  }
}

/// The rule of everything that computes: each byte of the result depends on each byte of the sources. The halves of
/// packed types stay apart.
void TaintInstrument::unite(Warp& warp, const Instruction&, const InstructionInfo& info, std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  LaneLabels all{};
  for (const Register& r : info.read) labels.add_to(r, all);
  if (is_packed(info.form.type) && info.form.op != Op::cvt) {
    for (std::uint32_t& lane : all) {
      lane |= (lane >> 8) & 0x00ff00ffu;
      lane = (lane & 0x00ff00ffu) | (lane & 0x00ff00ffu) << 8;
    }
  } else {
    for (std::uint32_t& lane : all) lane = spread_bytes(lane);
  }
  for (const Register& r : info.written) labels.fill(r, all, mask);
}

/// cvt to a packed type: a is the upper half, b the lower.
void TaintInstrument::pack_halves(Warp& warp, const Instruction& in, std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  LaneLabels high{}, low{};
  labels.add_to({in.a, 4}, high);
  labels.add_to({in.b, 4}, low);
  for (unsigned lane = 0; lane < kLanes; ++lane)
    high[lane] = (spread_bytes(high[lane]) & 0xffff0000u) | (spread_bytes(low[lane]) & 0xffffu);
  labels.fill({in.d, 4}, high, mask);
}

/// Conversions between pairs of e4m3 or e5m2 and pairs of something wider: the halves stay apart.
void TaintInstrument::convert_halves(Warp& warp, const Instruction& in, const InstructionInfo& info,
                                     std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  const unsigned half = info.form.type == Type::f16x2 ? 2 : 1;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    Labels high, low;
    if (info.form.op == Op::cvt_pack) {
      high = labels.any({in.a, 4}, lane);
      low = labels.any({in.b, 4}, lane);
    } else {
      const Word from = labels.get({in.a, static_cast<std::uint8_t>(half == 2 ? 2 : 4)}, lane);
      high = any_of(half == 2 ? from >> 8 : from >> 16);
      low = any_of(half == 2 ? from & 0xff : from & 0xffff);
    }
    labels.set({in.d, static_cast<std::uint8_t>(2 * half)}, lane,
               in_each(high, half) << (8 * half) | in_each(low, half));
  }
}

/// Moves of whole bytes: the handler runs on the labels themselves.
void TaintInstrument::move_bytes(const Warp& warp, const Instruction& in, const InstructionInfo& info,
                                 std::span<const Register> controls, std::uint32_t mask) {
  WarpShadow& labels = shadow(warp);
  std::byte* scratch = scratch_.registers;
  const auto size = [](const Register& r) { return r.bytes == 0 ? std::size_t{4} : std::size_t{r.bytes} * kLanes; };
  for (const Register& r : info.read)
    if (r.bytes != 0) std::memcpy(scratch + r.offset, labels.lanes(r), size(r));
  for (const Register& r : controls) std::memcpy(scratch + r.offset, warp.registers + r.offset, size(r));
  in.run(scratch_, in, kFullWarp);
  for (const Register& r : info.written) {
    if (r.bytes == 0)
      labels.clear(r, mask);  // shfl: whether a lane was in range is up to the controls
    else
      labels.store(r, reinterpret_cast<const Labels*>(scratch + r.offset), mask);
  }
  for (const auto& list : {std::span<const Register>(info.read), std::span<const Register>(info.written), controls})
    for (const Register& r : list) std::memset(scratch + r.offset, 0, size(r));
}

/// Whether the instruction, with controls as they are, leaves bytes whole.
bool TaintInstrument::keeps_bytes_whole(const Warp& warp, const Instruction& in, const InstructionInfo& info,
                                        std::span<const Register> controls) const {
  if (std::ranges::any_of(controls, [&](const Register& r) { return shadows_[warp.index].labelled(r.offset); }))
    return false;
  const Op op = info.form.op;
  if (op == Op::move || op == Op::pack || op == Op::unpack || op == Op::selp || is_shuffle(op)) return true;
  if (op != Op::shl && (op != Op::shr || is_signed(info.form.type))) return false;
  std::uint32_t amounts[kLanes], odd = 0;
  std::memcpy(amounts, warp.registers + in.b, sizeof amounts);
  for (const std::uint32_t amount : amounts) odd |= amount % 8;
  return odd == 0;
}

/// Instructions that put bits of their data elsewhere, as their controls say. The handler itself moves them: it runs on
/// registers in which a byte is all ones where the label is.
void TaintInstrument::move_bits(Warp& warp, const Instruction& in, const InstructionInfo& info,
                                std::span<const Register> controls, std::uint32_t mask) {
  const Op op = info.form.op;
  const bool b_is_data = op != Op::shl && op != Op::shr && op != Op::bfe && !is_shuffle(op);
  std::vector<Register> data;
  const auto is_control = [&](std::uint32_t offset) {
    return std::ranges::any_of(controls, [=](const Register& r) { return r.offset == offset; });
  };
  for (const Register& r : info.read)
    if (!is_control(r.offset) && r.offset != (in.flow == Flow::warp_mask ? in.e : 0)) data.push_back(r);
  if (is_control(in.a) || (b_is_data && in.b != 0 && is_control(in.b))) {
    if (is_shuffle(op)) return unite_lanes(warp, info, kFullWarp & mask);
    return unite(warp, in, info, mask);
  }
  if (keeps_bytes_whole(warp, in, info, controls)) return move_bytes(warp, in, info, controls, mask);

  WarpShadow& labels = shadow(warp);
  Word everything[kLanes] = {};  // per lane, byte by byte
  Labels of_controls[kLanes] = {};
  Labels all = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    for (const Register& r : data) everything[lane] |= labels.get(r, lane);
    for (const Register& r : controls) of_controls[lane] |= labels.any(r, lane);
    all |= any_of(everything[lane]);
  }
  std::vector<Word> moved(info.written.size() * kLanes, 0);
  std::byte* scratch = scratch_.registers;
  const auto size = [](const Register& r) { return r.bytes == 0 ? std::size_t{4} : std::size_t{r.bytes} * kLanes; };
  for (unsigned label = 0; label < 8; ++label) {
    if (((all >> label) & 1u) == 0) continue;
    for (const Register& r : controls) std::memcpy(scratch + r.offset, warp.registers + r.offset, size(r));
    for (const Register& r : data)
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const Word ones = ((labels.get(r, lane) >> label) & in_each(1, 8)) * 0xff;
        std::memcpy(scratch + r.offset + lane * r.bytes, &ones, r.bytes);
      }
    in.run(scratch_, in, kFullWarp);
    for (std::size_t i = 0; i < info.written.size(); ++i) {
      const Register& r = info.written[i];
      if (r.bytes == 0) continue;  // shfl: whether a lane was in range is up to the controls
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        Word bits = 0;
        std::memcpy(&bits, scratch + r.offset + lane * r.bytes, r.bytes);
        for (unsigned byte = 0; byte < r.bytes; ++byte)
          if (((bits >> (8 * byte)) & 0xff) != 0) moved[i * kLanes + lane] |= Word{1} << (8 * byte + label);
      }
    }
    for (const Register& r : controls) std::memset(scratch + r.offset, 0, size(r));
    for (const Register& r : data) std::memset(scratch + r.offset, 0, size(r));
    for (const Register& r : info.written) std::memset(scratch + r.offset, 0, size(r));
  }

  const bool keeps_bytes = op == Op::selp || op == Op::slct;
  for (std::size_t i = 0; i < info.written.size(); ++i) {
    const Register& r = info.written[i];
    for (unsigned lane = 0; lane < kLanes; ++lane) {
      if (!in_mask(mask, lane)) continue;
      Word word = moved[i * kLanes + lane];
      if (of_controls[lane] != 0) {
        const Labels source = is_shuffle(op) ? all : any_of(everything[lane]);
        word = (keeps_bytes    ? everything[lane]
                : r.bytes == 0 ? 0
                               : in_each(source, width(r))) |
               in_each(of_controls[lane], width(r));
      }
      labels.set(r, lane, word);
    }
  }
}

}  // namespace librt::ptx
