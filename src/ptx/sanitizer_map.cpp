#include "src/ptx/sanitizer_map.hpp"

#include <algorithm>
#include <new>

namespace librt::ptx {

void SanitizerMap::Impl::Slot::note_written(std::uint64_t begin, std::uint64_t end) {
  if (all_written) return;
  while (begin < end) {
    const unsigned from = begin % kCellBytes;
    const auto count = static_cast<unsigned>(std::min<std::uint64_t>(kCellBytes - from, end - begin));
    written[begin / kCellBytes] |= static_cast<std::uint16_t>(((1u << count) - 1) << from);
    begin += count;
  }
}

void SanitizerMap::Impl::cover_allocations() {
  std::erase_if(slots, [&](const auto& slot) { return memory->impl().table.find(slot.first) == nullptr; });
  memory->impl().table.for_each([&](std::uint64_t number, const Allocation& allocation) {
    Slot& slot = slots[number];
    const std::uint64_t cells = (allocation.bytes + kCellBytes - 1) / kCellBytes;
    if (slot.cells == nullptr && cells != 0) {
      slot.bytes = allocation.bytes;
      slot.written.resize(cells);
      slot.cells.reset(static_cast<GlobalCell*>(std::calloc(cells, sizeof(GlobalCell))));
      if (slot.cells == nullptr) throw std::bad_alloc();
    }
    if (slot.version == allocation.written_version) return;
    slot.version = allocation.written_version;
    for (const auto& [begin, end] : allocation.written) {
      slot.note_written(begin, end);
      slot.all_written = slot.all_written || end - begin == allocation.bytes;
    }
  });
  launch_cta = next_cta;
}

SanitizerMap::SanitizerMap(Memory& memory) : impl_(std::make_unique<Impl>(memory)) {}
SanitizerMap::~SanitizerMap() = default;

}  // namespace librt::ptx
