#include "src/ptx/memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
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

void Memory::Impl::note_all_written() {
  for (Allocation& allocation : slots)
    if (allocation.live) allocation.note_written(0, allocation.bytes);
}

Memory::Impl::~Impl() {
  for (const Allocation& allocation : slots) ::operator delete[](allocation.data, kAlignment);
}

std::uint64_t Memory::Impl::allocate(std::uint64_t bytes, std::string label, bool read_only, bool counted) {
  if (bytes > kLargest)
    throw MachineError(Fault::launch,
                       fmt::format("allocation '{}': {} bytes, at most {} are possible", label, bytes, kLargest));
  const std::uint64_t index = slots.size();
  if (index >= (kSharedWindow >> kSlotShift))
    throw MachineError(Fault::launch, fmt::format("allocation '{}': no address is left in this memory", label));
  Allocation allocation;
  allocation.base = index << kSlotShift;
  allocation.bytes = bytes;
  allocation.live = true;
  allocation.read_only = read_only;
  allocation.counted = counted;
  allocation.label = std::move(label);
  slots.reserve(slots.size() + 1);
  allocation.data = static_cast<std::byte*>(::operator new[](std::max<std::uint64_t>(bytes, 1), kAlignment));
  std::memset(allocation.data, kUnwritten, bytes);
  if (counted) in_use += bytes;
  slots.push_back(std::move(allocation));
  return slots.back().base;
}

void Memory::Impl::release(std::uint64_t address) {
  const Allocation* found = slot_of(address);
  if (found == nullptr || found->base != address || !found->counted)
    out_of_bounds(fmt::format("release of {:#x}: {}", address, describe(address)));
  Allocation& allocation = slots[address >> kSlotShift];
  allocation.live = false;
  in_use -= allocation.bytes;
  ::operator delete[](std::exchange(allocation.data, nullptr), kAlignment);
}

std::string Memory::Impl::describe(std::uint64_t address) const {
  const std::uint64_t index = address >> kSlotShift;
  const auto size = [](const Allocation& a) { return fmt::format("'{}' ({} bytes)", a.label, a.bytes); };
  if (index > 0 && index < slots.size()) {
    const Allocation& own = slots[index];
    const std::uint64_t offset = address - own.base;
    const std::string_view state = own.live ? "" : "released ";
    if (offset == 0) return fmt::format("it is the start of {}{}", state, size(own));
    if (offset < own.bytes) return fmt::format("it is byte {} of {}{}", offset, state, size(own));
    const std::uint64_t past = offset - own.bytes;
    if (index + 1 >= slots.size() || past <= slots[index + 1].base - address)
      return fmt::format("it is {} bytes past the end of {}{}", past, state, size(own));
    return fmt::format("it is {} bytes before {}", slots[index + 1].base - address, size(slots[index + 1]));
  }
  if (slots.size() == 1) return "there is no allocation";
  if (index == 0) return fmt::format("it is {} bytes before {}", slots[1].base - address, size(slots[1]));
  const Allocation& last = slots.back();
  return fmt::format("it is {} bytes past the end of {}", address - last.base - last.bytes, size(last));
}

std::vector<std::uint64_t> Memory::Impl::instantiate(const std::shared_ptr<const Program>& program) {
  for (auto at = instances_.begin(); at != instances_.end();) {
    if (const auto held = at->program.lock(); held == program) return at->addresses;
    if (!at->program.expired()) {
      ++at;
      continue;
    }
    for (const std::uint64_t address : at->addresses) {
      Allocation& allocation = slots[address >> kSlotShift];
      allocation.live = false;
      ::operator delete[](std::exchange(allocation.data, nullptr), kAlignment);
    }
    at = instances_.erase(at);
  }
  Instance instance{program, {}};
  for (const Variable& variable : program->variables)
    instance.addresses.push_back(allocate(variable.bytes, variable.name, variable.constant, false));
  for (std::size_t i = 0; i < program->variables.size(); ++i) {
    const Variable& variable = program->variables[i];
    std::byte* data = slots[instance.addresses[i] >> kSlotShift].data;
    if (variable.initial.empty())
      std::memset(data, 0, variable.bytes);
    else
      std::memcpy(data, variable.initial.data(), variable.initial.size());
    slots[instance.addresses[i] >> kSlotShift].note_written(0, variable.bytes);
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
  const Allocation* found = impl_->find(address, bytes.size());
  if (found == nullptr)
    out_of_bounds(fmt::format("write of {} bytes to {:#x}: {}", bytes.size(), address, impl_->describe(address)));
  if (bytes.empty()) return;
  std::memcpy(found->data + (address - found->base), bytes.data(), bytes.size());
  impl_->slots[address >> Impl::kSlotShift].note_written(address - found->base, address - found->base + bytes.size());
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

}  // namespace librt::ptx
