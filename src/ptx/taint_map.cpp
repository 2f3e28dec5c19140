#include "src/ptx/taint_map.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace librt::ptx {
namespace {

const Allocation& allocation_of(Memory& memory, std::uint64_t address, std::uint64_t bytes, std::string_view doing) {
  const Allocation* found = memory.impl().find(address, bytes);
  if (found == nullptr)
    throw MachineError(Fault::out_of_bounds, fmt::format("{} the labels of {} bytes at {:#x}: {}", doing, bytes,
                                                         address, memory.impl().describe(address)));
  return *found;
}

std::ptrdiff_t offset_in(const Allocation& allocation, std::uint64_t address) {
  return static_cast<std::ptrdiff_t>(address - allocation.base);
}

}  // namespace

void TaintMap::Impl::cover_allocations() {
  std::erase_if(slots, [&](const auto& slot) { return memory->impl().table.find(slot.first) == nullptr; });
  by_place.clear();
  memory->impl().table.for_each([&](std::uint64_t number, const Allocation& allocation) {
    Slot& slot = slots[number];
    slot.labels.resize(allocation.bytes);
    by_place.push_back({allocation.data, allocation.data + allocation.bytes, &slot});
  });
  std::ranges::sort(by_place, std::less{}, &HostRange::begin);
}

const Labels* TaintMap::Impl::labels_of(const std::byte* data, std::size_t& hint) const {
  if (hint >= by_place.size() || data < by_place[hint].begin || data >= by_place[hint].end) {
    const auto next = std::ranges::upper_bound(by_place, data, std::less{}, &HostRange::begin);
    if (next == by_place.begin()) return nullptr;
    hint = static_cast<std::size_t>(next - by_place.begin()) - 1;
  }
  const HostRange& range = by_place[hint];
  const Slot& slot = *range.slot;
  if (data >= range.end || !slot.labelled.load(std::memory_order_relaxed)) return nullptr;
  return slot.labels.data() + (data - range.begin);
}

TaintMap::TaintMap(Memory& memory) : impl_(std::make_unique<Impl>(memory)) {}
TaintMap::~TaintMap() = default;

void TaintMap::label(std::uint64_t address, std::uint64_t bytes, Labels labels) {
  const Allocation& allocation = allocation_of(*impl_->memory, address, bytes, "setting");
  impl_->cover_allocations();
  Impl::Slot& slot = impl_->slot_of(address);
  std::fill_n(slot.labels.begin() + offset_in(allocation, address), bytes, labels);
  if (labels != 0 && bytes != 0) slot.labelled = true;
}

void TaintMap::forbid(std::uint64_t address, std::uint64_t bytes, Labels labels) {
  const Allocation& allocation = allocation_of(*impl_->memory, address, bytes, "forbidding");
  impl_->cover_allocations();
  std::vector<Labels>& forbidden = impl_->slot_of(address).forbidden;
  forbidden.resize(allocation.bytes);
  std::fill_n(forbidden.begin() + offset_in(allocation, address), bytes, labels);
}

std::vector<Labels> TaintMap::read(std::uint64_t address, std::uint64_t bytes) const {
  const Allocation& allocation = allocation_of(*impl_->memory, address, bytes, "reading");
  const auto slot = impl_->slots.find(address >> Memory::Impl::kSlotShift);
  if (slot == impl_->slots.end() || slot->second.labels.empty()) return std::vector<Labels>(bytes);
  const auto begin = slot->second.labels.begin() + offset_in(allocation, address);
  return {begin, begin + static_cast<std::ptrdiff_t>(bytes)};
}

}  // namespace librt::ptx
