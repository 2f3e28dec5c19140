// What an instruction computes, apart from its operands: the key under which the decoder finds a handler.
#pragma once

#include <cstdint>

#include "src/ptx/types.hpp"

namespace librt::ptx {

struct Warp;
struct Instruction;

/// Executes one instruction for the lanes of `mask`, which is never empty.
using Handler = void (*)(Warp& warp, const Instruction& instruction, std::uint32_t mask);

enum class Op : std::uint8_t {
  add,
  sub,
  mul,
  mul_lo,
  mul_hi,
  mul_wide,
  mad_lo,
  mad_hi,
  mad_wide,
  fma,
  div,
  rem,
  abs,
  neg,
  min,
  max,
  sad,
  bit_and,
  bit_or,
  bit_xor,
  bit_not,
  cnot,
  shl,
  shr,
  shf_l_wrap,
  shf_l_clamp,
  shf_r_wrap,
  shf_r_clamp,
  lop3,
  prmt,
  prmt_f4e,
  prmt_b4e,
  prmt_rc8,
  prmt_ecl,
  prmt_ecr,
  prmt_rc16,
  bfe,
  bfi,
  bfind,
  bfind_shiftamt,
  brev,
  popc,
  clz,
  add_cc,
  addc,
  addc_cc,
  sub_cc,
  subc,
  subc_cc,
  move,
  pack,
  unpack,
  selp,
  slct,
  setp,
  set,
  copysign,
  testp,
  window_to_generic,
  generic_to_window,
  isspacep,
  rcp,
  sqrt,
  rsqrt,
  ex2,
  lg2,
  sin,
  cos,
  tanh,
  cvt,
  cvt_pack,
  shfl_up,
  shfl_down,
  shfl_bfly,
  shfl_idx,
  vote_all,
  vote_any,
  vote_uni,
  vote_ballot,
  match_any,
  match_all,
  redux_add,
  redux_min,
  redux_max,
  redux_and,
  redux_or,
  redux_xor,
  elect,
  activemask,
  nothing,
  clock,
  ld,
  st,
  atom_add,
  atom_min,
  atom_max,
  atom_and,
  atom_or,
  atom_xor,
  atom_inc,
  atom_dec,
  atom_exch,
  atom_cas,
  cp_async,
  cp_async_commit,
  cp_async_wait,
  ldmatrix,
  ldmatrix_trans,
  stmatrix,
  stmatrix_trans,
  mma_m16n8k16,
  mma_m16n8k8,
  trap,
  discard,
};

enum class Compare : std::uint8_t {
  none,
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  equ,
  neu,
  ltu,
  leu,
  gtu,
  geu,
  num,
  nan,
};
enum class Combine : std::uint8_t { none, bool_and, bool_or, bool_xor };
enum class Round : std::uint8_t { none, rn, rz, rm, rp, rna, rni, rzi, rmi, rpi, approx, full };

struct Form {
  Op op = Op::nothing;
  Type type = Type::none;
  Type source = Type::none;  ///< second type: cvt, set, slct, mma inputs
  Round round = Round::none;
  Compare compare = Compare::none;
  Combine combine = Combine::none;
  bool ftz = false, sat = false, nan = false, relu = false;
  std::uint8_t register_bytes = 0;         ///< of d (ld), of the stored value (st), of d (cvt)
  std::uint8_t source_register_bytes = 0;  ///< of a (cvt)
  std::uint8_t count = 1;                  ///< vector elements, matrices
  Space space = Space::generic;
};

enum class InstructionSet : std::uint8_t { baseline, wide };

/// The handler of exactly this form, or null: there is no approximate match. Both sets give the same bits.
Handler find_handler(const Form& form, InstructionSet set);
/// The best set that this processor can run.
InstructionSet native_instruction_set() noexcept;

}  // namespace librt::ptx
