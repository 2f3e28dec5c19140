// CTA barriers, the checks of `.sync` member masks, and the report of a deadlock.
#pragma once

#include <cstdint>

#include "src/ptx/warp.hpp"

namespace librt::ptx {

/// Counts the lanes of `mask` at the barrier that the instruction names; returns its number.
/// Throws MachineError(illegal_sync) where the operands or earlier arrivals contradict.
unsigned arrive_at_barrier(Warp& warp, const Instruction& instruction, std::uint32_t mask);

bool barrier_is_ready(const Cta& cta, unsigned id);
/// Lets the lanes that wait at the barrier go on and writes the results of bar.red.
void release_barrier(Cta& cta, unsigned id);

template <class Released>
void release_ready_barriers(Cta& cta, Released released) {
  for (unsigned id = 0; id < cta.barriers.size(); ++id) {
    if (!barrier_is_ready(cta, id)) continue;
    released(id);
    release_barrier(cta, id);
  }
}

/// Throws illegal_sync where a member mask leaves out its own lane, or lanes that are here disagree about it.
/// @param present the lanes here that gave `members`; @param mask all lanes here
void check_members(const Warp& warp, const Instruction& instruction, unsigned lane, std::uint32_t members,
                   std::uint32_t present, std::uint32_t mask);

/// Throws MachineError (deadlock or illegal_sync) with the position of every warp.
[[noreturn]] void report_deadlock(const Cta& cta);

}  // namespace librt::ptx
