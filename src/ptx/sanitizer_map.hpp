// The history of the bytes behind a SanitizerMap.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <unordered_map>
#include <vector>

#include "src/ptx/memory.hpp"
#include "src/ptx/sanitizer.hpp"
#include "src/ptx/sanitizer_cells.hpp"

namespace librt::ptx {

struct SanitizerMap::Impl {
  explicit Impl(Memory& memory_of_map) : memory(&memory_of_map) {}

  struct Slot {
    std::uint64_t bytes = 0;
    std::vector<std::uint16_t> written;  ///< a bit for each of 16 bytes
    bool all_written = false;
    std::uint64_t version = 0;  ///< of Allocation::written, as far as it is in `written`
    struct Free {
      void operator()(GlobalCell* first) const { std::free(first); }
    };
    std::unique_ptr<GlobalCell[], Free> cells;  ///< zeros cost nothing until they are touched

    void note_written(std::uint64_t begin, std::uint64_t end);
  };

  /// Brings slots up to date with the memory, before a launch.
  void cover_allocations();
  /// Of an address in a live allocation.
  Slot& slot_of(std::uint64_t address) { return slots.find(address >> Memory::Impl::kSlotShift)->second; }

  Memory* memory;
  std::unordered_map<std::uint64_t, Slot> slots;  ///< by number of allocation
  CellParts<GlobalCell> parts;
  Crowds crowds;                 ///< of the CTA that runs
  std::uint32_t next_cta = 1;    ///< numbers CTAs over all launches
  std::uint32_t launch_cta = 1;  ///< the first of this launch; what came before is ordered
};

}  // namespace librt::ptx
