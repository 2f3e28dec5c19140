// The seam for instruments (sanitizers, taint, profiles). The scheduler is a template over an Instrument; a plain run
// uses NoInstrument, whose empty hooks vanish. Values are always computed by the same handlers: an instrument watches.
//
// Where a hook gets an instruction, `warp.kernel->info[instruction - code]` tells its full form, the registers that it
// reads and writes, and what it does to memory. `before` comes when the operands still have their old values (the
// destination may be one of them), so shadows are computed there; addresses are those that access_address() returns.
#pragma once

#include <cstdint>
#include <cstring>

#include "src/ptx/warp.hpp"

namespace librt::ptx {

struct NoInstrument {
  static constexpr bool kWatches = false;
  void start_cta(Cta&) {}
  void end_cta(Cta&) {}
  /// The guard predicate decided which lanes of `group` go on with the instruction.
  void guard(Warp&, const Instruction&, std::uint32_t /*group*/, std::uint32_t /*mask*/) {}
  /// Loads, stores, register writes, matrix and exchange instructions, copies: all that has a handler.
  void before(Warp&, const Instruction&, std::uint32_t /*mask*/) {}
  void after(Warp&, const Instruction&, std::uint32_t /*mask*/) {}
  void branch(Warp&, const Instruction&, std::uint32_t /*group*/, std::uint32_t /*taken*/) {}
  void barrier_arrive(Warp&, const Instruction&, std::uint32_t /*mask*/, unsigned /*barrier*/) {}
  void barrier_release(Cta&, unsigned /*barrier*/) {}
};

/// Told when the bytes of a cp.async land, which can be long after the instruction.
class CopyObserver {
 public:
  virtual ~CopyObserver() = default;
  virtual void copy_arrived(Warp& warp, const PendingCopy& copy) = 0;
};

/// The space in which an address of `space` lies.
inline Space target_of(Space space, std::uint64_t address) {
  if (space != Space::generic) return space;
  const std::uint64_t window = address & kWindowMask;
  return window == kSharedWindow  ? Space::shared
         : window == kLocalWindow ? Space::local
         : window == kParamWindow ? Space::param
                                  : Space::global;
}

/// The address that `lane` accesses, in the instruction's space.
inline std::uint64_t access_address(const Warp& warp, const Instruction& instruction, unsigned lane) {
  const std::byte* base = warp.registers + instruction.a;
  std::uint32_t narrow;
  std::uint64_t wide;
  if (instruction.address_is_32) {
    std::memcpy(&narrow, base + lane * sizeof narrow, sizeof narrow);
    wide = narrow;
  } else {
    std::memcpy(&wide, base + lane * sizeof wide, sizeof wide);
  }
  return wide + static_cast<std::uint64_t>(instruction.immediate);
}

}  // namespace librt::ptx
