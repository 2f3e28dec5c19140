#include "src/ptx/memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <new>
#include <utility>

namespace librt::ptx {
namespace {

constexpr std::align_val_t kAlignment{256};
// All ones is a NaN in every floating type and an unlikely index: unwritten bytes are loud.
constexpr int kUnwritten = 0xff;

[[noreturn]] void out_of_bounds(const std::string& message) {
  throw MachineError(Fault::out_of_bounds, message);
}

}  // namespace

void Allocation::note_written(std::uint64_t begin, std::uint64_t end) {
  if (begin == end) return;
  auto next = written.upper_bound(begin);
  if (next != written.begin() && std::prev(next)->second >= begin) {
    --next;
    if (next->second >= end) return;
    begin = next->first;
  }
  while (next != written.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = written.erase(next);
  }
  written.emplace_hint(next, begin, end);
  ++written_version;
}

Allocation::~Allocation() {
  ::operator delete[](data, kAlignment);
}

std::string Allocation::name() const {
  return fmt::format("'{}' ({} bytes)", label, bytes);
}

void AllocationTable::add(std::unique_ptr<Allocation> allocation) {
  const std::uint64_t number = next_ / kBlock;
  while (blocks_.size() <= number) blocks_.push_back(nullptr);
  if (blocks_[number] == nullptr) {
    blocks_[number] = live_blocks_.emplace(number, std::make_unique<Block>()).first->second.get();
  }
  blocks_[number]->entries[next_ % kBlock] = std::move(allocation);
  ++blocks_[number]->live;
  ++next_;
}

void AllocationTable::remove(std::uint64_t number) noexcept {
  Block& block = *blocks_[number / kBlock];
  block.entries[number % kBlock].reset();
  if (--block.live != 0) return;
  blocks_[number / kBlock] = nullptr;
  live_blocks_.erase(number / kBlock);
}

void Memory::Impl::note_all_written() {
  table.for_each([](std::uint64_t, Allocation& allocation) { allocation.note_written(0, allocation.bytes); });
}

std::uint64_t Memory::Impl::allocate(std::uint64_t bytes, std::string label, bool read_only, bool counted) {
  if (bytes > kLargest)
    throw MachineError(Fault::launch,
                       fmt::format("allocation '{}': {} bytes, at most {} are possible", label, bytes, kLargest));
  const std::uint64_t index = table.next();
  if (index >= (kSharedWindow >> kSlotShift))
    throw MachineError(Fault::launch, fmt::format("allocation '{}': no address is left in this memory", label));
  auto allocation = std::make_unique<Allocation>();
  const std::uint64_t base = index << kSlotShift;
  allocation->base = base;
  allocation->bytes = bytes;
  allocation->read_only = read_only;
  allocation->counted = counted;
  allocation->label = std::move(label);
  allocation->data =
      static_cast<std::byte*>(::operator new[](std::max<std::uint64_t>(bytes, 1), kAlignment, std::nothrow));
  if (allocation->data == nullptr)
    throw MachineError(Fault::launch, fmt::format("allocation '{}': the host has no memory for it", allocation->label));
  std::memset(allocation->data, kUnwritten, bytes);
  table.add(std::move(allocation));
  if (counted) in_use += bytes;
  return base;
}

void Memory::Impl::remove(std::uint64_t number) noexcept {
  const Allocation& allocation = *table.find(number);
  try {
    if (gone_.size() == kRemembered) gone_.pop_front();
    gone_.push_back({allocation.base, allocation.bytes, allocation.name()});
  } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): a message will know less
  }
  if (allocation.counted) in_use -= allocation.bytes;
  table.remove(number);
}

void Memory::Impl::release(std::uint64_t address) {
  const Allocation* found = slot_of(address);
  if (found == nullptr || found->base != address || !found->counted)
    out_of_bounds(fmt::format("release of {:#x}: {}", address, describe(address)));
  remove(address >> kSlotShift);
}

const Memory::Impl::Gone* Memory::Impl::gone(std::uint64_t number) const noexcept {
  const auto found = std::ranges::find(gone_, number << kSlotShift, &Gone::base);
  return found == gone_.end() ? nullptr : &*found;
}

std::string Memory::Impl::describe(std::uint64_t address) const {
  const std::uint64_t index = address >> kSlotShift;
  if (table.next() == 1) return "there is no allocation";
  // An address past all slots is spoken of as past the last one, one below all as before the first.
  const std::uint64_t number = std::clamp<std::uint64_t>(index, 1, table.next() - 1);
  const Allocation* const live = table.find(number);
  const Gone* const released = live == nullptr ? gone(number) : nullptr;
  if (live == nullptr && released == nullptr) return "it is in memory that was released long ago";
  const std::uint64_t base = number << kSlotShift;
  const std::uint64_t bytes = live != nullptr ? live->bytes : released->bytes;
  const std::string name = live != nullptr ? live->name() : "released " + released->name;
  if (index < number) return fmt::format("it is {} bytes before {}", base - address, name);
  const std::uint64_t offset = address - base;
  if (offset == 0) return fmt::format("it is the start of {}", name);
  if (offset < bytes) return fmt::format("it is byte {} of {}", offset, name);
  const std::uint64_t past = offset - bytes;
  const std::uint64_t next = (number + 1) << kSlotShift;
  if (const Allocation* const after = table.find(number + 1); after != nullptr && past > next - address)
    return fmt::format("it is {} bytes before {}", next - address, after->name());
  return fmt::format("it is {} bytes past the end of {}", past, name);
}

std::vector<std::uint64_t> Memory::Impl::instantiate(const std::shared_ptr<const Program>& program) {
  for (auto at = instances_.begin(); at != instances_.end();) {
    if (const auto held = at->program.lock(); held == program) return at->addresses;
    if (!at->program.expired()) {
      ++at;
      continue;
    }
    for (const std::uint64_t address : at->addresses) remove(address >> kSlotShift);
    at = instances_.erase(at);
  }
  Instance instance{program, {}};
  for (const Variable& variable : program->variables)
    instance.addresses.push_back(allocate(variable.bytes, variable.name, variable.constant, false));
  for (std::size_t i = 0; i < program->variables.size(); ++i) {
    const Variable& variable = program->variables[i];
    Allocation& allocation = *slot_of(instance.addresses[i]);
    std::byte* data = allocation.data;
    if (variable.initial.empty())
      std::memset(data, 0, variable.bytes);
    else
      std::memcpy(data, variable.initial.data(), variable.initial.size());
    allocation.note_written(0, variable.bytes);
    for (const Variable::Pointer& pointer : variable.pointers) {
      const std::uint64_t value = instance.addresses[pointer.variable] + static_cast<std::uint64_t>(pointer.addend);
      std::memcpy(data + pointer.at, &value, sizeof value);
    }
  }
  instances_.push_back(std::move(instance));
  return instances_.back().addresses;
}

Memory::Memory() : impl_(std::make_unique<Impl>()) {}
Memory::~Memory() = default;

std::uint64_t Memory::allocate(std::size_t bytes, std::string label) {
  return impl_->allocate(bytes, std::move(label), false, true);
}

void Memory::release(std::uint64_t address) {
  impl_->release(address);
}

void Memory::write(std::uint64_t address, std::span<const std::byte> bytes) {
  Allocation* found = impl_->find(address, bytes.size());
  if (found == nullptr)
    out_of_bounds(fmt::format("write of {} bytes to {:#x}: {}", bytes.size(), address, impl_->describe(address)));
  if (bytes.empty()) return;
  std::memcpy(found->data + (address - found->base), bytes.data(), bytes.size());
  found->note_written(address - found->base, address - found->base + bytes.size());
}

void Memory::read(std::uint64_t address, std::span<std::byte> bytes) const {
  const Allocation* found = impl_->find(address, bytes.size());
  if (found == nullptr)
    out_of_bounds(fmt::format("read of {} bytes from {:#x}: {}", bytes.size(), address, impl_->describe(address)));
  if (!bytes.empty()) std::memcpy(bytes.data(), found->data + (address - found->base), bytes.size());
}

std::size_t Memory::bytes_in_use() const noexcept {
  return impl_->in_use;
}

std::size_t Memory::records() const noexcept {
  return impl_->records();
}

}  // namespace librt::ptx
