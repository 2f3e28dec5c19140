// Runs the warps of one CTA. Each lane has a program counter; of the lanes that can run, those with the lowest one go
// first, so that diverged lanes meet again where their paths join. `.sync` instructions are meetings: lanes wait there
// until all that must come have come. A warp runs until it blocks or its share is used up, then the next one does.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "src/ptx/barriers.hpp"
#include "src/ptx/instrument.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {

template <class Instrument>
class Scheduler {
 public:
  Scheduler(Cta& cta, Instrument& instrument) : cta_(cta), instrument_(instrument) {}

  /// Runs each warp once, for at most `share` instructions; returns how many were executed.
  std::uint64_t round(std::uint64_t share) {
    std::uint64_t executed = 0;
    for (Warp& warp : cta_.warps)
      if (warp.live != 0) executed += run_warp(warp, share);
    return executed;
  }

 private:
  enum class Step : std::uint8_t { onward, reselect };

  std::uint64_t run_warp(Warp& warp, std::uint64_t share) {
    const Instruction* code = warp.kernel->code.data();
    const std::uint64_t start = warp.executed;
    const std::uint64_t end = start + share;
    // Lanes that spun through the last share let the others go first for this one: they may wait for them.
    const std::uint32_t deferred = std::exchange(warp.deferred, 0u);
    while (warp.executed < end) {
      const std::uint32_t runnable = warp.live & ~warp.blocked & ~warp.waiting;
      if (runnable == 0) break;
      select(warp, (runnable & ~deferred) != 0 ? runnable & ~deferred : runnable);
      while (warp.executed < end) {
        const Instruction& instruction = code[pc_];
        std::uint32_t mask = group_;
        if (instruction.guard != 0) {
          mask &= predicate_of(warp, instruction.guard) ^ (instruction.guard_negated ? kFullWarp : 0u);
          if constexpr (Instrument::kWatches) instrument_.guard(warp, instruction, group_, mask);
        }
        ++warp.executed;
        if (instruction.flow == Flow::next) {
          if (mask != 0) execute(warp, instruction, mask);
          ++pc_;
        } else if (control(warp, instruction, mask) == Step::reselect) {
          break;
        }
        if (pc_ >= next_) break;
      }
      save(warp, group_, pc_);
    }
    const std::uint32_t others = warp.live & ~warp.blocked & ~warp.waiting & ~group_;
    if (warp.executed >= end && deferred == 0 && others != 0) warp.deferred = group_;
    return warp.executed - start;
  }

  static std::uint32_t predicate_of(const Warp& warp, std::uint32_t offset) {
    std::uint32_t mask;
    __builtin_memcpy(&mask, warp.registers + offset, sizeof mask);
    return mask;
  }

  static void save(Warp& warp, std::uint32_t lanes, std::uint32_t pc) {
    for (; lanes != 0; lanes &= lanes - 1) warp.pc[static_cast<unsigned>(std::countr_zero(lanes))] = pc;
  }

  /// Sets the group of lanes to run, its program counter, and the one at which it meets others.
  void select(Warp& warp, std::uint32_t runnable) {
    pc_ = ~0u;
    for (std::uint32_t rest = runnable; rest != 0; rest &= rest - 1)
      pc_ = std::min(pc_, warp.pc[static_cast<unsigned>(std::countr_zero(rest))]);
    group_ = 0;
    next_ = ~0u;
    for (std::uint32_t rest = warp.live & ~warp.blocked; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      if (warp.pc[lane] == pc_) group_ |= 1u << lane;
      if (warp.pc[lane] > pc_) next_ = std::min(next_, warp.pc[lane]);
    }
    warp.waiting &= ~group_;
    alone_ = group_ == (warp.live & ~warp.blocked);
  }

  void execute(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
    if constexpr (Instrument::kWatches) instrument_.before(warp, instruction, mask);
    instruction.run(warp, instruction, mask);
    if constexpr (Instrument::kWatches) instrument_.after(warp, instruction, mask);
  }

  /// The group stops; `lanes` of it stay at this instruction, the others go on from the next one.
  Step wait(Warp& warp, std::uint32_t lanes) {
    save(warp, lanes, pc_);
    warp.waiting |= lanes;
    group_ &= ~lanes;
    ++pc_;
    return Step::reselect;
  }

  Step control(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
    switch (instruction.flow) {
      case Flow::next:
        break;
      case Flow::branch:
        return branch(warp, instruction, mask);
      case Flow::branch_table:
        return branch_table(warp, instruction, mask);
      case Flow::exit:
        return leave(warp, mask);
      case Flow::warp_all:
        return meet_all(warp, instruction, mask);
      case Flow::warp_mask:
        return meet_members(warp, instruction, mask);
      case Flow::barrier:
        return arrive(warp, instruction, mask);
    }
    ++pc_;
    return Step::onward;
  }

  Step branch(Warp& warp, const Instruction& instruction, std::uint32_t taken) {
    if constexpr (Instrument::kWatches) instrument_.branch(warp, instruction, group_, taken);
    if (taken == group_) {
      const bool back = instruction.target <= pc_;
      pc_ = instruction.target;
      // Others may now be behind this group.
      return back && !alone_ ? Step::reselect : Step::onward;
    }
    ++pc_;
    if (taken == 0) return Step::onward;
    save(warp, taken, instruction.target);
    group_ &= ~taken;
    return Step::reselect;
  }

  Step branch_table(Warp& warp, const Instruction& instruction, std::uint32_t taken) {
    if constexpr (Instrument::kWatches) instrument_.branch(warp, instruction, group_, taken);
    for (std::uint32_t rest = taken; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      std::uint32_t index;
      __builtin_memcpy(&index, warp.registers + instruction.a + 4 * lane, sizeof index);
      if (index >= static_cast<std::uint64_t>(instruction.immediate))
        raise(warp, instruction, lane, Fault::out_of_bounds, "the index is past the list of branch targets");
      warp.pc[lane] = instruction.list[index];
    }
    group_ &= ~taken;
    ++pc_;
    return Step::reselect;
  }

  Step leave(Warp& warp, std::uint32_t mask) {
    warp.live &= ~mask;
    cta_.live -= static_cast<std::uint32_t>(std::popcount(mask));
    group_ &= ~mask;
    ++pc_;
    if (mask == 0) return Step::onward;
    // Meetings and barriers no longer count these lanes.
    warp.waiting = 0;
    release_ready_barriers(cta_, [this](unsigned id) { instrument_.barrier_release(cta_, id); });
    return Step::reselect;
  }

  Step meet_all(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
    if (mask == 0) {
      ++pc_;
      return Step::onward;
    }
    if ((warp.live & ~group_) != 0) return wait(warp, group_);
    if (mask != kFullWarp)
      raise(warp, instruction, static_cast<unsigned>(std::countr_zero(mask)), Fault::illegal_sync,
            "an .aligned instruction needs all 32 lanes of the warp");
    execute(warp, instruction, mask);
    ++pc_;
    return Step::onward;
  }

  Step meet_members(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
    std::uint32_t absent = 0;
    for (std::uint32_t rest = mask; rest != 0;) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      const std::uint32_t members = member_mask(warp, instruction, lane);
      std::uint32_t present = 0;
      for (std::uint32_t others = rest; others != 0; others &= others - 1) {
        const auto other = static_cast<unsigned>(std::countr_zero(others));
        if (member_mask(warp, instruction, other) == members) present |= 1u << other;
      }
      check_members(warp, instruction, lane, members, present, mask);
      rest &= ~present;
      if ((members & warp.live & ~present) != 0)
        absent |= present;
      else
        execute(warp, instruction, present);
    }
    if (absent != 0) return wait(warp, absent);
    ++pc_;
    return Step::onward;
  }

  static std::uint32_t member_mask(const Warp& warp, const Instruction& instruction, unsigned lane) {
    std::uint32_t members;
    __builtin_memcpy(&members, warp.registers + instruction.e + 4 * lane, sizeof members);
    return members;
  }

  Step arrive(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
    if (mask == 0) {
      ++pc_;
      return Step::onward;
    }
    if (instruction.aligned) {
      if ((warp.live & ~group_) != 0) return wait(warp, group_);
      if (mask != group_)
        raise(warp, instruction, static_cast<unsigned>(std::countr_zero(mask)), Fault::illegal_sync,
              "only a part of the warp executes an aligned barrier");
    }
    const unsigned id = arrive_at_barrier(warp, instruction, mask);
    if constexpr (Instrument::kWatches) instrument_.barrier_arrive(warp, instruction, mask, id);
    if (instruction.barrier == BarrierOperation::arrive) {
      ++pc_;
    } else {
      save(warp, mask, pc_);
      warp.blocked |= mask;
      group_ &= ~mask;
      ++pc_;
    }
    save(warp, group_, pc_);
    release_ready_barriers(cta_, [this](unsigned released) { instrument_.barrier_release(cta_, released); });
    return Step::reselect;
  }

  Cta& cta_;
  Instrument& instrument_;
  std::uint32_t pc_ = 0, next_ = 0, group_ = 0;
  bool alone_ = false;
};

}  // namespace librt::ptx
