// The labels behind a TaintMap.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "src/ptx/memory.hpp"
#include "src/ptx/taint.hpp"

namespace librt::ptx {

struct TaintMap::Impl {
  explicit Impl(Memory& memory_of_map) : memory(&memory_of_map) {}

  struct Slot {
    std::vector<Labels> labels;
    std::atomic<bool> labelled{false};  ///< false: no byte has a label
    std::vector<Labels> forbidden;      ///< of stores; empty: none is
  };
  struct HostRange {
    const std::byte* begin;
    const std::byte* end;
    const Slot* slot;
  };

  /// Gives every live allocation its labels, before host threads share them.
  void cover_allocations();
  Slot& slot_of(std::uint64_t address) { return slots.find(address >> Memory::Impl::kSlotShift)->second; }
  /// The labels of bytes that the host sees at `data`, or null if none there has any.
  /// @param hint kept by the caller between calls: copies mostly come from where the last one came from
  const Labels* labels_of(const std::byte* data, std::size_t& hint) const;

  Memory* memory;
  std::unordered_map<std::uint64_t, Slot> slots;  ///< by number of allocation; references to them stay valid
  std::vector<HostRange> by_place;                ///< sorted
};

}  // namespace librt::ptx
