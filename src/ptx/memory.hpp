// The allocations behind Memory, and the module-scope variables that live among them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "src/ptx/machine.hpp"
#include "src/ptx/program.hpp"

namespace librt::ptx {

struct Allocation {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  std::byte* data = nullptr;
  bool live = false;
  bool read_only = false;
  bool counted = true;
  std::string label;
  std::map<std::uint64_t, std::uint64_t> written;  ///< begin to end of the bytes that the host wrote, apart
  std::uint64_t written_version = 0;               ///< counts changes of `written`

  void note_written(std::uint64_t begin, std::uint64_t end);
};

struct Memory::Impl {
  /// Addresses of the n-th allocation start at n << kSlotShift; the upper half of each slot stays empty.
  static constexpr unsigned kSlotShift = 37;
  static constexpr std::uint64_t kLargest = std::uint64_t{1} << 36;

  Impl() : slots(1) {}
  ~Impl();

  std::uint64_t allocate(std::uint64_t bytes, std::string label, bool read_only, bool counted);
  void release(std::uint64_t address);
  /// The live allocation whose slot holds `address`, or null.
  const Allocation* slot_of(std::uint64_t address) const noexcept {
    const std::uint64_t index = address >> kSlotShift;
    if (index >= slots.size() || !slots[index].live) return nullptr;
    return &slots[index];
  }
  /// Null unless the whole range lies in one allocation.
  const Allocation* find(std::uint64_t address, std::uint64_t bytes) const noexcept {
    const Allocation* slot = slot_of(address);
    if (slot == nullptr || address - slot->base > slot->bytes || bytes > slot->bytes - (address - slot->base))
      return nullptr;
    return slot;
  }
  /// "3 bytes past the end of 'k_pages' (4096 bytes)"; for messages.
  std::string describe(std::uint64_t address) const;
  /// Addresses of the program's variables; they are created at its first launch and keep their values.
  std::vector<std::uint64_t> instantiate(const std::shared_ptr<const Program>& program);

  /// A launch that nobody watches may write anything.
  void note_all_written();

  std::vector<Allocation> slots;  ///< [0] is never used, so that null is not in an allocation
  std::size_t in_use = 0;

 private:
  struct Instance {
    std::weak_ptr<const Program> program;
    std::vector<std::uint64_t> addresses;
  };
  std::vector<Instance> instances_;
};

}  // namespace librt::ptx
