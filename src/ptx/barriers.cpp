#include "src/ptx/barriers.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

namespace librt::ptx {
namespace {

std::uint32_t register_of(const Warp& warp, std::uint32_t offset, unsigned lane) {
  std::uint32_t value;
  std::memcpy(&value, warp.registers + offset + 4 * lane, sizeof value);
  return value;
}

std::uint32_t uniform_operand(const Warp& warp, const Instruction& instruction, std::uint32_t offset,
                              std::uint32_t mask, std::string_view what) {
  const auto first = static_cast<unsigned>(std::countr_zero(mask));
  const std::uint32_t value = register_of(warp, offset, first);
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(rest));
    if (register_of(warp, offset, lane) != value)
      raise(warp, instruction, lane, Fault::illegal_sync, fmt::format("the lanes of the warp name different {}", what));
  }
  return value;
}

void write_reduction(Warp& warp, const Instruction& instruction, unsigned lane, const CtaBarrier& barrier) {
  if (instruction.barrier == BarrierOperation::reduce_popc) {
    std::memcpy(warp.registers + instruction.d + 4 * lane, &barrier.popc, sizeof barrier.popc);
    return;
  }
  const bool result = instruction.barrier == BarrierOperation::reduce_and ? barrier.all : barrier.any;
  std::uint32_t mask;
  std::memcpy(&mask, warp.registers + instruction.d, sizeof mask);
  mask = (mask & ~(1u << lane)) | ((result ? 1u : 0u) << lane);
  std::memcpy(warp.registers + instruction.d, &mask, sizeof mask);
}

}  // namespace

unsigned arrive_at_barrier(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
  const auto lane = static_cast<unsigned>(std::countr_zero(mask));
  const auto refuse = [&](const std::string& what) { raise(warp, instruction, lane, Fault::illegal_sync, what); };
  Cta& cta = *warp.cta;
  const std::uint32_t id = uniform_operand(warp, instruction, instruction.a, mask, "barriers");
  if (id >= cta.barriers.size()) refuse(fmt::format("barrier {} does not exist, there are 16", id));
  std::uint32_t expected = 0;
  if (instruction.b != 0) {
    expected = uniform_operand(warp, instruction, instruction.b, mask, "thread counts");
    if (expected == 0 || expected % kLanes != 0)
      refuse(fmt::format("the thread count {} is not a positive multiple of 32", expected));
  }
  CtaBarrier& barrier = cta.barriers[id];
  if (barrier.arrived != 0 && barrier.expected != expected)
    refuse(fmt::format("barrier {} is used with thread counts {} and {} at once (0: all)", id, barrier.expected,
                       expected));
  barrier.expected = expected;
  const auto lanes = static_cast<std::uint32_t>(std::popcount(mask));
  // With a count, the ISA lets every warp that arrives count in full.
  barrier.arrived += expected != 0 && instruction.aligned ? kLanes : lanes;
  if (expected != 0 && barrier.arrived > expected)
    refuse(fmt::format("{} threads arrive at barrier {}, which expects {}", barrier.arrived, id, expected));
  if (instruction.barrier != BarrierOperation::sync && instruction.barrier != BarrierOperation::arrive) {
    std::uint32_t value;
    std::memcpy(&value, warp.registers + instruction.c, sizeof value);
    value = (value ^ (instruction.operand_negated ? kFullWarp : 0u)) & mask;
    barrier.popc += static_cast<std::uint32_t>(std::popcount(value));
    barrier.all = barrier.all && value == mask;
    barrier.any = barrier.any || value != 0;
  }
  return id;
}

bool barrier_is_ready(const Cta& cta, unsigned id) {
  const CtaBarrier& barrier = cta.barriers[id];
  return barrier.arrived != 0 && barrier.arrived >= (barrier.expected != 0 ? barrier.expected : cta.live);
}

void release_barrier(Cta& cta, unsigned id) {
  for (Warp& warp : cta.warps) {
    for (std::uint32_t rest = warp.blocked; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      const Instruction& instruction = warp.kernel->code[warp.pc[lane]];
      if (register_of(warp, instruction.a, lane) != id) continue;
      if (instruction.barrier != BarrierOperation::sync) write_reduction(warp, instruction, lane, cta.barriers[id]);
      warp.blocked &= ~(1u << lane);
      ++warp.pc[lane];
    }
  }
  cta.barriers[id] = CtaBarrier{};
}

void check_members(const Warp& warp, const Instruction& instruction, unsigned lane, std::uint32_t members,
                   std::uint32_t present, std::uint32_t mask) {
  if ((present & ~members) != 0)
    raise(warp, instruction, static_cast<unsigned>(std::countr_zero(present & ~members)), Fault::illegal_sync,
          fmt::format("the member mask {:#x} does not name the executing lane", members));
  if ((members & mask & ~present) != 0)
    raise(warp, instruction, lane, Fault::illegal_sync,
          fmt::format("lanes {:#x} of the member mask {:#x} execute it with another mask", members & mask & ~present,
                      members));
}

void report_deadlock(const Cta& cta) {
  std::string positions;
  Fault fault = Fault::deadlock;
  const Kernel* kernel = nullptr;
  for (const Warp& warp : cta.warps) {
    kernel = warp.kernel;
    for (std::uint32_t rest = warp.live; rest != 0;) {
      const std::uint32_t pc = warp.pc[static_cast<unsigned>(std::countr_zero(rest))];
      std::uint32_t same = 0;
      for (std::uint32_t others = rest; others != 0; others &= others - 1) {
        const auto lane = static_cast<unsigned>(std::countr_zero(others));
        if (warp.pc[lane] == pc) same |= 1u << lane;
      }
      rest &= ~same;
      const bool meeting = (warp.waiting & same) != 0;
      if (meeting && warp.kernel->code[pc].flow == Flow::barrier) fault = Fault::illegal_sync;
      const InstructionInfo& info = warp.kernel->info[pc];
      positions +=
          fmt::format("; warp {} lanes {:#x} {} line {} '{}'", warp.index, same,
                      meeting ? "wait for other lanes of the warp at" : "wait at the barrier in", info.line, info.text);
    }
  }
  CodePlace place;
  place.kernel = kernel != nullptr ? kernel->name : std::string();
  place.cta = cta.index;
  const std::string message = fmt::format("kernel '{}', CTA ({}, {}, {}): no warp can make progress{}", place.kernel,
                                          cta.index.x, cta.index.y, cta.index.z, positions);
  throw MachineError(fault, message, std::move(place), std::nullopt);
}

}  // namespace librt::ptx
