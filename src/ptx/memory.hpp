// The allocations behind Memory, and the module-scope variables that live among them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/ptx/machine.hpp"
#include "src/ptx/program.hpp"

namespace librt::ptx {

struct Allocation {
  std::uint64_t base = 0;
  std::uint64_t bytes = 0;
  std::byte* data = nullptr;
  bool read_only = false;
  bool counted = true;
  std::string label;
  std::map<std::uint64_t, std::uint64_t> written;  ///< begin to end of the bytes that the host wrote, apart
  std::uint64_t written_version = 0;               ///< counts changes of `written`

  Allocation() = default;
  ~Allocation();
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;

  void note_written(std::uint64_t begin, std::uint64_t end);
  /// "'k_pages' (4096 bytes)"
  std::string name() const;
};

/// The live allocations by their number. Numbers are never used twice, and what is gone leaves at most the pointer to a
/// block of kBlock of them: a device may live long.
class AllocationTable {
 public:
  static constexpr std::uint64_t kBlock = 64;

  /// Null if it is not live.
  Allocation* find(std::uint64_t number) const noexcept {
    const std::uint64_t block = number / kBlock;
    if (block >= blocks_.size() || blocks_[block] == nullptr) return nullptr;
    return blocks_[block]->entries[number % kBlock].get();
  }
  /// The number that add() gives next; all others are below.
  std::uint64_t next() const noexcept { return next_; }
  void add(std::unique_ptr<Allocation> allocation);
  void remove(std::uint64_t number) noexcept;
  /// visit(number, allocation), in the order of the numbers. Costs what lives.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (const auto& [number, block] : live_blocks_) {
      for (std::uint64_t i = 0; i < kBlock; ++i) {
        if (Allocation* const each = block->entries[i].get()) visit(number * kBlock + i, *each);
      }
    }
  }
  std::size_t num_blocks() const noexcept { return live_blocks_.size(); }

 private:
  struct Block {
    std::array<std::unique_ptr<Allocation>, kBlock> entries;
    unsigned live = 0;
  };

  std::vector<Block*> blocks_;  // by number / kBlock; null where nothing lives
  std::map<std::uint64_t, std::unique_ptr<Block>> live_blocks_;
  std::uint64_t next_ = 1;  // 0 is never used, so that null is not in an allocation
};

struct Memory::Impl {
  /// Addresses of the n-th allocation start at n << kSlotShift; the upper half of each slot stays empty.
  static constexpr unsigned kSlotShift = 37;
  static constexpr std::uint64_t kLargest = std::uint64_t{1} << 36;

  std::uint64_t allocate(std::uint64_t bytes, std::string label, bool read_only, bool counted);
  void release(std::uint64_t address);
  /// The live allocation whose slot holds `address`, or null.
  Allocation* slot_of(std::uint64_t address) const noexcept { return table.find(address >> kSlotShift); }
  /// Null unless the whole range lies in one allocation.
  Allocation* find(std::uint64_t address, std::uint64_t bytes) const noexcept {
    Allocation* slot = slot_of(address);
    if (slot == nullptr || address - slot->base > slot->bytes || bytes > slot->bytes - (address - slot->base))
      return nullptr;
    return slot;
  }
  /// "3 bytes past the end of 'k_pages' (4096 bytes)"; for messages.
  std::string describe(std::uint64_t address) const;
  /// Addresses of the program's variables; they are created at its first launch and keep their values.
  std::vector<std::uint64_t> instantiate(const std::shared_ptr<const Program>& program);

  /// As Memory::records(): room in blocks, and the remembered ones.
  std::size_t records() const noexcept { return table.num_blocks() * AllocationTable::kBlock + gone_.size(); }

  /// A launch that nobody watches may write anything.
  void note_all_written();

  AllocationTable table;
  std::size_t in_use = 0;

 private:
  struct Instance {
    std::weak_ptr<const Program> program;
    std::vector<std::uint64_t> addresses;
  };
  /// What was released last, so that a use after it can be named.
  struct Gone {
    std::uint64_t base = 0;
    std::uint64_t bytes = 0;
    std::string name;
  };
  static constexpr std::size_t kRemembered = 256;

  void remove(std::uint64_t number) noexcept;
  const Gone* gone(std::uint64_t number) const noexcept;

  std::vector<Instance> instances_;
  std::deque<Gone> gone_;
};

}  // namespace librt::ptx
