// The decoded form of a module: what the parser and decoder write and the warps execute.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/ptx/form.hpp"
#include "src/ptx/types.hpp"

namespace librt::ptx {

constexpr unsigned kLanes = 32;
constexpr std::uint32_t kFullWarp = 0xffffffffu;

/// How the scheduler treats an instruction. Everything but `next` may end the straight run of a group of lanes.
enum class Flow : std::uint8_t {
  next,          ///< run the handler, go on
  branch,        ///< to `target`
  branch_table,  ///< to the entry of `list` that register `a` selects
  exit,
  warp_mask,  ///< meeting of the lanes in member mask `e`, then the handler
  warp_all,   ///< meeting of the whole warp (`.aligned`), then the handler
  barrier,    ///< CTA barrier; see BarrierOperation
};

enum class BarrierOperation : std::uint8_t { sync, arrive, reduce_popc, reduce_and, reduce_or };

/// What an instruction does to memory, for instruments: its own operands say where.
enum class MemoryAccess : std::uint8_t { none, load, store, atomic, matrix_load, copy };

/// What an access promises about the order of others; volatile is relaxed.
enum class Ordering : std::uint8_t { weak, relaxed, acquire, release, acq_rel };

/// Flags of Instruction::flags, for handlers that look at them when they run.
constexpr std::uint8_t kFtz = 1, kSat = 2, kNan = 4, kRelu = 8;

/// The types of a cvt, for the conversions that are not worth a handler of their own.
struct Conversion {
  Type to = Type::none, from = Type::none;
  std::uint8_t to_register = 0, from_register = 0;  ///< bytes
  std::uint8_t round = 0;                           ///< a Round
};

/// Registers live in one byte array per warp; a register is 32 lanes of its width (2, 4 or 8 bytes) side by side, a
/// predicate one 32-bit mask. Operands are byte offsets into it. Immediates and special registers are registers that
/// are filled when the warp starts, so that a handler needs no case for them.
struct Instruction {
  Handler run = nullptr;
  std::uint32_t d = 0, a = 0, b = 0, c = 0, e = 0;
  std::uint32_t guard = 0;              ///< offset of the guard predicate; 0 = none
  std::int64_t immediate = 0;           ///< displacement of an address, group count, lookup table
  const std::uint32_t* list = nullptr;  ///< further operands: vectors, fragments, branch targets
  std::uint32_t target = 0;             ///< index of the instruction that a branch goes to; or a small operand
  std::int32_t displacement = 0;        ///< of the second address (cp.async: the destination's)
  Conversion conversion;
  std::uint8_t flags = 0;
  Space space = Space::generic;
  Flow flow = Flow::next;
  bool guard_negated = false;
  BarrierOperation barrier = BarrierOperation::sync;
  bool aligned = true;             ///< barrier: the whole warp must arrive together
  bool address_is_32 = false;      ///< the address register `a` is 32 bits wide
  bool destination_is_64 = false;  ///< cp.async: the address register `d` is 64 bits wide
  bool operand_negated = false;    ///< !p of a predicate source
};

/// The part of an instruction that execution does not need: messages and instruments.
struct InstructionInfo {
  std::string text;                                ///< as in the module, white space folded
  std::uint32_t line = 0;                          ///< of the PTX text, from 1
  std::uint32_t source_file = 0, source_line = 0;  ///< from `.loc`; 0 = unknown
  std::string opcode;                              ///< full form, e.g. "ld.global.v4.u32"
  Form form;                                       ///< what the handler was chosen by
  MemoryAccess access = MemoryAccess::none;
  Space space = Space::generic;
  std::uint32_t access_bytes = 0;  ///< per lane
  Ordering ordering = Ordering::weak;
  bool cta_scope = false;  ///< of an access that is not weak: it counts inside the CTA only
  bool fence = false;
  struct Register {
    std::uint32_t offset;
    std::uint8_t bytes;  ///< per lane; 0 = predicate
  };
  std::vector<Register> written, read;
};

struct Constant {
  std::uint32_t offset;
  std::uint32_t bytes;  ///< per lane; 0 = predicate
  std::uint64_t value;
};

/// A register that holds the address of a module-scope variable, known only when the module meets a Memory.
struct SymbolAddress {
  std::uint32_t offset;
  std::uint32_t variable;  ///< index into Program::variables
  std::int64_t addend;
};

enum class Special : std::uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  lanemask_eq,
  lanemask_lt,
  lanemask_le,
  lanemask_gt,
  lanemask_ge,
  smid,
  nsmid,
  gridid,
  dynamic_smem_size,
  total_smem_size,
  clock,
  clock64,
  globaltimer,
  envreg,
  count,
};

struct SpecialRegister {
  std::uint32_t offset;
  Special which;
  std::uint32_t index = 0;  ///< of %envreg
};

struct Parameter {
  std::string name;
  std::uint32_t offset, bytes;
};

struct Kernel {
  std::string name;
  std::vector<Instruction> code;
  std::vector<InstructionInfo> info;
  std::vector<std::unique_ptr<std::uint32_t[]>> lists;
  std::uint32_t register_bytes = 0;
  std::vector<Constant> constants;
  std::vector<SymbolAddress> addresses;
  std::vector<SpecialRegister> specials;
  std::vector<Parameter> parameters;
  std::uint32_t parameter_bytes = 0;
  std::uint32_t static_shared_bytes = 0;            ///< padded so that dynamic shared memory starts at its alignment
  std::uint32_t local_bytes = 0;                    ///< per lane
  std::array<std::uint32_t, 3> max_block{0, 0, 0};  ///< .maxntid; 0 = not given
  std::array<std::uint32_t, 3> required_block{0, 0, 0};
  bool orders_ctas = false;  ///< has atomics or ordered accesses to global memory: CTAs run one after another
};

/// A module-scope `.global` or `.const` variable.
struct Variable {
  struct Pointer {
    std::uint64_t at;
    std::uint32_t variable;
    std::int64_t addend;
  };
  std::string name;
  bool constant = false;
  std::uint64_t bytes = 0;
  std::vector<std::byte> initial;  ///< empty: all zeros
  std::vector<Pointer> pointers;
};

struct Program : std::enable_shared_from_this<Program> {
  std::string version, target;
  std::vector<std::string> files;  ///< of `.file`, by number
  std::vector<Variable> variables;
  std::vector<Kernel> kernels;
};

/// Fixed places of the address spaces. Module and buffer addresses are below 2^62.
constexpr std::uint64_t kSharedWindow = std::uint64_t{0x4A} << 56;
constexpr std::uint64_t kLocalWindow = std::uint64_t{0x4B} << 56;
constexpr std::uint64_t kParamWindow = std::uint64_t{0x4C} << 56;
constexpr std::uint64_t kWindowMask = std::uint64_t{0xff} << 56;
constexpr std::uint32_t kSharedBase = 1024;  ///< as on devices that reserve the first KiB; keeps null invalid
constexpr std::uint32_t kLocalBase = 1024;
constexpr std::uint32_t kParamBase = 1024;

}  // namespace librt::ptx
