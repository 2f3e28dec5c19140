// Watches a launch for what a correct kernel never does, whatever its results are: reads of memory and registers that
// nothing wrote, accesses of different threads that nothing orders, use of copies that are still under way. The faults
// that end a launch (out of bounds, misaligned, illegal sync, deadlock, trap) are findings too.
//
// Order is what the PTX memory model gives (barriers, fences with strong accesses, atomics), never the order in which
// the machine happened to run: a race is found although its outcome was right.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/ptx/machine.hpp"

namespace librt::ptx {

enum class Defect : std::uint8_t {
  // These end the launch.
  out_of_bounds,
  misaligned,
  illegal_sync,
  deadlock,
  trap,
  instruction_limit,
  // These do not.
  uninitialised_register,  ///< a register is read that the lane has never written
  uninitialised_memory,    ///< bytes are loaded that neither the host nor a kernel has written
  race,                    ///< two accesses of one byte, at least one of them a write, that nothing orders
  copy_in_flight,          ///< the destination of a cp.async is read or written before its thread waited for it
};

std::string_view to_string(Defect defect) noexcept;

/// The first of its kind at one instruction.
struct SanitizerFinding {
  Defect defect = Defect::race;
  CodePlace at;  ///< a deadlock has a kernel and a CTA only
  std::optional<std::uint64_t> address;
  std::string memory;              ///< the buffer or the space and the offset in it; or the register
  std::optional<CodePlace> other;  ///< race, copy_in_flight: the earlier access
  std::string what;                ///< one sentence that tells all but `at`
};

std::string to_string(const SanitizerFinding& finding);

/// Which bytes of the global memory of one Memory were ever written, and who accessed them; kept over launches. What
/// the host wrote with Memory::write, before this map was made or after, counts as written, and so does everything
/// that exists while a launch without this map runs.
class SanitizerMap {
 public:
  explicit SanitizerMap(Memory& memory);
  ~SanitizerMap();
  SanitizerMap(const SanitizerMap&) = delete;
  SanitizerMap& operator=(const SanitizerMap&) = delete;

  struct Impl;
  Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct SanitizerReport {
  LaunchStats stats;
  bool completed = true;  ///< false: the last finding ended the launch
  std::vector<SanitizerFinding> findings;
};

/// launch() under the sanitizers. The bits and the statistics are those of launch(); one host thread runs all CTAs.
/// @param map must have been made for `memory`
/// Throws MachineError(launch) for a launch that cannot begin; what happens later is in the report.
SanitizerReport launch_checked(const Module& module, Memory& memory, SanitizerMap& map, std::string_view entry,
                               std::span<const std::byte> params, const LaunchOptions& options);

}  // namespace librt::ptx
