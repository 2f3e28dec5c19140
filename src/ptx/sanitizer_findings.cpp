// What findings say.
#include <fmt/format.h>

#include "src/ptx/sanitizer_instrument.hpp"

namespace librt::ptx {

bool SanitizerInstrument::is_new(const Instruction& in, Defect defect) {
  std::uint16_t& reported = reported_[index_of(in)];
  const auto bit = static_cast<std::uint16_t>(1u << static_cast<unsigned>(defect));
  if ((reported & bit) != 0) return false;
  reported = static_cast<std::uint16_t>(reported | bit);
  return true;
}

std::string SanitizerInstrument::memory_of(const Access& a) const {
  if (a.space == Space::global) {
    const Allocation* found = map_.memory->impl().slot_of(a.address);
    return fmt::format("byte {} of '{}' ({} bytes)", a.address - found->base, found->label, found->bytes);
  }
  const std::uint64_t address = a.in.space == Space::generic ? a.address & ~kWindowMask : a.address;
  const bool shared = a.space == Space::shared;
  return fmt::format("byte {} of {} memory ({} bytes)", address - (shared ? kSharedBase : kLocalBase),
                     shared ? "shared" : "local", shared ? a.warp.cta->shared.size() : a.warp.kernel->local_bytes);
}

void SanitizerInstrument::find_unwritten_register(const Warp& warp, const Instruction& in, unsigned lane) {
  if (!is_new(in, Defect::uninitialised_register)) return;
  SanitizerFinding& finding = findings_.emplace_back();
  finding.defect = Defect::uninitialised_register;
  finding.at = place_of(warp, in, lane);
  finding.memory = "a register";
  finding.what = "it reads a register that this lane has not written";
}

void SanitizerInstrument::find_unwritten(const Access& a) {
  if (!is_new(a.in, Defect::uninitialised_memory)) return;
  SanitizerFinding& finding = findings_.emplace_back();
  finding.defect = Defect::uninitialised_memory;
  finding.at = place_of(a.warp, a.in, a.lane);
  finding.address = a.address;
  finding.memory = memory_of(a);
  finding.what = fmt::format("reads {} bytes at {} address {:#x}, {}, of which some were never written", a.bytes,
                             to_string(a.space), a.address, finding.memory);
}

void SanitizerInstrument::find_conflict(Defect defect, const Access& a, Stamp earlier, std::uint32_t cta,
                                        bool earlier_writes) {
  if (!is_new(a.in, defect)) return;
  SanitizerFinding& finding = findings_.emplace_back();
  finding.defect = defect;
  finding.at = place_of(a.warp, a.in, a.lane);
  finding.address = a.address;
  finding.memory = memory_of(a);
  CodePlace other = place_of(a.warp, kernel_->code[stamp::instruction(earlier)], stamp::lane(earlier));
  other.warp = stamp::warp(earlier);
  const Dim3& grid = launch_->options->grid;
  const std::uint32_t linear = cta - map_.launch_cta;
  other.cta = {linear % grid.x, linear / grid.x % grid.y, linear / grid.x / grid.y};
  const std::string access = fmt::format("{} {} bytes at {} address {:#x}, {}", a.writes ? "writes" : "reads", a.bytes,
                                         to_string(a.space), a.address, finding.memory);
  finding.what = defect == Defect::copy_in_flight
                     ? fmt::format("{}, to which a copy is under way that its thread has not waited for: {}", access,
                                   to_string(other))
                     : fmt::format("{}, and nothing orders this after the {} by {}", access,
                                   earlier_writes ? "write" : "read", to_string(other));
  finding.other = std::move(other);
}

}  // namespace librt::ptx
