#include "src/ptx/warp.hpp"

#include <fmt/format.h>

#include <cstring>

#include "src/ptx/instrument.hpp"

namespace librt::ptx {
namespace {

std::string outside(std::string_view object, std::uint64_t offset, std::uint64_t size) {
  const auto distance = static_cast<std::int64_t>(offset);
  if (distance < 0)
    return fmt::format("{} bytes before the start of the {} bytes of {}", std::uint64_t{0} - offset, size, object);
  if (offset < size)
    return fmt::format("reaches past the end of the {} bytes of {}, from byte {}", size, object, offset);
  return fmt::format("{} bytes past the end of the {} bytes of {}", offset - size, size, object);
}

struct Target {
  std::byte* data;
  std::uint64_t size;
  std::uint64_t offset;
  std::string_view object;
};

}  // namespace

CodePlace place_of(const Warp& warp, const Instruction& instruction, unsigned lane) {
  const Kernel& kernel = *warp.kernel;
  const InstructionInfo& info = kernel.info[static_cast<std::size_t>(&instruction - kernel.code.data())];
  const auto& files = warp.cta->launch->program->files;
  const bool known = info.source_line != 0 && info.source_file < files.size();
  return {.kernel = kernel.name,
          .instruction = info.text,
          .line = info.line,
          .source_file = known ? files[info.source_file] : std::string(),
          .source_line = known ? info.source_line : 0,
          .lane = lane,
          .warp = warp.index,
          .cta = warp.cta->index};
}

void raise(const Warp& warp, const Instruction& instruction, unsigned lane, Fault fault, std::string_view what,
           std::optional<Accessed> accessed) {
  const CodePlace place = place_of(warp, instruction, lane);
  throw MachineError(fault, fmt::format("kernel '{}', {}: {}", place.kernel, to_string(place), what), place,
                     std::move(accessed));
}

std::byte* translate(Warp& warp, const Instruction& instruction, unsigned lane, Space space, std::uint64_t address,
                     std::uint32_t bytes, AccessMode mode) {
  const auto complain = [&](Fault fault, std::string_view why) {
    const std::string_view verb = mode == AccessMode::read ? "read" : "write";
    raise(warp, instruction, lane, fault,
          fmt::format("{} of {} bytes at {} address {:#x}: {}", verb, bytes, to_string(space), address, why),
          Accessed{address, std::string(why)});
  };
  if ((address & (bytes - 1)) != 0)
    complain(Fault::misaligned, fmt::format("the address is not a multiple of {}{}", bytes,
                                            space == Space::global || space == Space::constant
                                                ? "; " + warp.cta->launch->memory->describe(address)
                                                : std::string()));
  std::uint64_t window = address & kWindowMask;
  Space target = space;
  if (space == Space::generic) {
    target = window == kSharedWindow  ? Space::shared
             : window == kLocalWindow ? Space::local
             : window == kParamWindow ? Space::param
                                      : Space::global;
  } else {
    window = 0;
  }
  Cta& cta = *warp.cta;
  Target place{};
  switch (target) {
    case Space::shared:
      place = {cta.shared.data(), cta.shared.size(), address - window - kSharedBase, "shared memory"};
      break;
    case Space::local: {
      const std::uint64_t size = warp.kernel->local_bytes;
      place = {warp.local.data() + lane * size, size, address - window - kLocalBase, "local memory"};
      break;
    }
    case Space::param: {
      const auto& parameters = cta.launch->parameters;
      if (mode == AccessMode::write) complain(Fault::out_of_bounds, "parameters are read-only");
      place = {const_cast<std::byte*>(parameters.data()), parameters.size(), address - window - kParamBase,
               "parameters"};
      break;
    }
    default: {
      const Allocation* found = cta.launch->memory->find(address, bytes);
      if (found == nullptr) complain(Fault::out_of_bounds, cta.launch->memory->describe(address));
      if (target == Space::constant && !found->read_only)
        complain(Fault::out_of_bounds, fmt::format("'{}' is not constant memory", found->label));
      if (found->read_only && (mode == AccessMode::write || space == Space::global))
        complain(Fault::out_of_bounds, fmt::format("'{}' is constant memory", found->label));
      return found->data + (address - found->base);
    }
  }
  if (place.offset > place.size || place.size - place.offset < bytes)
    complain(Fault::out_of_bounds, outside(place.object, place.offset, place.size));
  return place.data + place.offset;
}

void finish_copy(Warp& warp, const PendingCopy& copy) {
  std::byte* to = warp.cta->shared.data() + copy.destination;
  if (copy.source_bytes != 0) std::memcpy(to, copy.source, copy.source_bytes);
  std::memset(to + copy.source_bytes, 0, static_cast<std::size_t>(copy.bytes - copy.source_bytes));
  if (warp.cta->copy_observer != nullptr) warp.cta->copy_observer->copy_arrived(warp, copy);
}

void complete_copies(Warp& warp, std::uint32_t mask, std::uint32_t keep) {
  std::size_t kept = 0;
  for (const PendingCopy& copy : warp.copies) {
    const bool mine = ((mask >> copy.lane) & 1u) != 0;
    // Copies after the last commit belong to no group yet; wait_group does not wait for them.
    if (mine && std::uint64_t{copy.group} + keep < warp.committed[copy.lane])
      finish_copy(warp, copy);
    else
      warp.copies[kept++] = copy;
  }
  warp.copies.resize(kept);
}

void complete_random_copies(Warp& warp) {
  std::size_t kept = 0;
  for (const PendingCopy& copy : warp.copies) {
    // splitmix64: small, and the same everywhere, which the standard distributions are not.
    std::uint64_t z = (warp.random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    if (((z ^ (z >> 31)) & 7u) == 0)
      finish_copy(warp, copy);
    else
      warp.copies[kept++] = copy;
  }
  warp.copies.resize(kept);
}

}  // namespace librt::ptx
