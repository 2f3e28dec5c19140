// The state of a running CTA: its warps, shared memory and barriers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "src/ptx/machine.hpp"
#include "src/ptx/memory.hpp"
#include "src/ptx/program.hpp"

namespace librt::ptx {

/// Always inline: the handlers are compiled for two instruction sets, and a call could take either's copy.
[[gnu::always_inline]] inline bool in_mask(std::uint32_t mask, unsigned lane) {
  return ((mask >> lane) & 1u) != 0;
}

/// One lane's part of a cp.async that has not arrived.
struct PendingCopy {
  const std::byte* source;    ///< null if nothing is read
  std::uint32_t destination;  ///< offset into Cta::shared
  std::uint8_t bytes, source_bytes, lane;
  std::uint32_t group;  ///< the lane's commit count when it was issued
};

struct Cta;

struct Warp {
  std::byte* registers = nullptr;
  Cta* cta = nullptr;
  const Kernel* kernel = nullptr;
  std::uint32_t index = 0;  ///< in the CTA
  std::uint32_t live = 0;
  std::uint32_t waiting = 0;   ///< lanes at a `.sync` instruction whose partners have not come
  std::uint32_t blocked = 0;   ///< lanes at a CTA barrier
  std::uint32_t deferred = 0;  ///< lanes that used up a share while others of the warp could run
  std::uint64_t executed = 0;
  std::array<std::uint32_t, kLanes> pc{};
  std::array<std::uint8_t, kLanes> barrier{};  ///< of a blocked lane
  std::vector<PendingCopy> copies;
  std::array<std::uint32_t, kLanes> committed{};  ///< cp.async groups per lane
  std::uint64_t random_state = 0;
  std::vector<std::byte> local;  ///< kernel->local_bytes per lane

  struct AlignedDelete {
    void operator()(std::byte* bytes) const noexcept { ::operator delete[](bytes, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte[], AlignedDelete> register_storage;
};

struct CtaBarrier {
  std::uint32_t arrived = 0;   ///< threads, counted as the PTX ISA counts them
  std::uint32_t expected = 0;  ///< 0: all threads of the CTA
  std::uint32_t popc = 0;
  bool all = true, any = false;
};

/// What all CTAs of a launch share; constant while it runs.
struct LaunchContext {
  const Program* program = nullptr;
  const Kernel* kernel = nullptr;
  Memory::Impl* memory = nullptr;
  const LaunchOptions* options = nullptr;
  std::vector<std::byte> parameters;
  std::vector<std::uint64_t> variable_addresses;
  std::uint32_t shared_bytes = 0;
};

class CopyObserver;

struct Cta {
  const LaunchContext* launch = nullptr;
  Dim3 index;
  std::uint64_t linear_index = 0;
  std::vector<std::byte> shared;
  std::array<CtaBarrier, 16> barriers;
  std::vector<Warp> warps;
  std::uint32_t live = 0;                 ///< lanes of all warps
  CopyObserver* copy_observer = nullptr;  ///< of an instrument
};

CodePlace place_of(const Warp& warp, const Instruction& instruction, unsigned lane);

/// Throws MachineError with the place added to `what`.
[[noreturn]] void raise(const Warp& warp, const Instruction& instruction, unsigned lane, Fault fault,
                        std::string_view what, std::optional<Accessed> accessed = std::nullopt);

enum class AccessMode : std::uint8_t { read, write };

/// The host address of one lane's access, or an error that says why there is none. The slow path of all accesses.
std::byte* translate(Warp& warp, const Instruction& instruction, unsigned lane, Space space, std::uint64_t address,
                     std::uint32_t bytes, AccessMode mode);

/// Lets the copies of `mask` lanes arrive that belong to all but each lane's newest `keep` groups.
void complete_copies(Warp& warp, std::uint32_t mask, std::uint32_t keep);
/// CopyTiming::random: lets some of the pending copies arrive.
void complete_random_copies(Warp& warp);
void finish_copy(Warp& warp, const PendingCopy& copy);

}  // namespace librt::ptx
