// Loads, stores, atomics and copies against what was done to the same bytes before.
#include <algorithm>
#include <cstring>
#include <utility>

#include "src/ptx/sanitizer_instrument.hpp"

namespace librt::ptx {
void SanitizerInstrument::access_lanes(Warp& warp, const Instruction& in, const Step& step, std::uint32_t mask,
                                       bool writes) {
  const std::size_t at = index_of(in);
  const Stamp base = stamp::make(clocks_[warp.index].time(), 2 * warp.index, at, step.strength);
  std::uint64_t addresses[kLanes];
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(__builtin_ctz(rest));
    addresses[lane] = access_address(warp, in, lane);
  }
  for (std::uint32_t rest = mask; rest != 0;) {
    const auto lane = static_cast<unsigned>(__builtin_ctz(rest));
    rest &= rest - 1;
    Stamp me = stamp::in_lane(base, lane);
    // Loads of one place by many lanes are one access.
    while (!writes && rest != 0 && addresses[__builtin_ctz(rest)] == addresses[lane]) {
      rest &= rest - 1;
      me |= Stamp{1} << stamp::kSeveralAt;
    }
    access({warp, in, lane, step.bytes, target_of(in.space, addresses[lane]), addresses[lane], me, writes});
  }
}

/// What cannot be accessed is left to the handler, which complains.
void SanitizerInstrument::access(const Access& a) {
  if ((a.address & (a.bytes - 1)) != 0) return;
  const std::uint64_t window = a.in.space == Space::generic && a.space != Space::global ? kWindowMask : 0;
  const auto inside = [&](std::uint64_t offset, std::uint64_t size) {
    return offset < size && size - offset >= a.bytes;
  };
  switch (a.space) {
    case Space::shared: {
      const std::uint64_t offset = (a.address & ~window) - kSharedBase;
      if (inside(offset, a.warp.cta->shared.size())) access_shared(a, offset);
      break;
    }
    case Space::local: {
      const std::uint64_t offset = (a.address & ~window) - kLocalBase;
      if (inside(offset, a.warp.kernel->local_bytes)) access_local(a, offset);
      break;
    }
    case Space::global:
      if (map_.memory->impl().find(a.address, a.bytes) != nullptr) access_global(a);
      break;
    default:
      break;
  }
}

void SanitizerInstrument::access_local(const Access& a, std::uint64_t offset) {
  std::uint8_t* bytes = local_[a.warp.index].data() + std::uint64_t{a.lane} * a.warp.kernel->local_bytes + offset;
  if (a.writes) {
    std::memset(bytes, 1, a.bytes);
  } else if (std::memchr(bytes, 0, a.bytes) != nullptr) {
    find_unwritten(a);
  }
}

void SanitizerInstrument::access_shared(const Access& a, std::uint64_t offset) {
  SharedCell& cell = shared_[offset / kCellBytes];
  if (a.bytes == kCellBytes && !is_split(cell.write)) return a.writes ? write(cell, a) : read(cell, a);
  const auto visit = [&](SharedCell& part) { a.writes ? write(part, a) : read(part, a); };
  shared_parts_.visit(cell, shared_crowds_, kCellBytes, offset % kCellBytes, a.bytes, visit);
}

void SanitizerInstrument::access_global(const Access& a) {
  SanitizerMap::Impl::Slot& slot = map_.slot_of(a.address);
  const std::uint64_t offset = a.address & ((std::uint64_t{1} << Memory::Impl::kSlotShift) - 1);
  if (!slot.all_written && (!a.writes || kernel_->info[index_of(a.in)].access == MemoryAccess::atomic)) {
    const unsigned bits = ((1u << a.bytes) - 1) << (offset % kCellBytes);
    if ((slot.written[offset / kCellBytes] & bits) != bits) find_unwritten(a);
  }
  if (a.writes) slot.note_written(offset, offset + a.bytes);
  GlobalCell& cell = slot.cells[offset / kCellBytes];
  if (a.bytes == kCellBytes && !is_split(cell.write)) return a.writes ? write(cell, a) : read(cell, a);
  const auto visit = [&](GlobalCell& part) { a.writes ? write(part, a) : read(part, a); };
  map_.parts.visit(cell, map_.crowds, kCellBytes, offset % kCellBytes, a.bytes, visit);
}

void SanitizerInstrument::copy(Warp& warp, const Instruction& in, std::uint32_t mask) {
  const std::size_t at = index_of(in);
  const std::uint32_t bytes = in.target;
  const Stamp reading = stamp::make(clocks_[warp.index].time(), 2 * warp.index, at, 0);
  std::uint32_t ignored = 0;
  if (in.e != 0) {
    std::memcpy(&ignored, warp.registers + in.e, sizeof ignored);
    if (in.operand_negated) ignored = ~ignored;
  }
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(__builtin_ctz(rest));
    std::uint32_t source_bytes = bytes;
    if (in.c != 0) std::memcpy(&source_bytes, warp.registers + in.c + 4 * lane, sizeof source_bytes);
    if (in_mask(ignored, lane)) source_bytes = 0;
    const std::uint64_t source = access_address(warp, in, lane);
    if (source_bytes == bytes) {
      access({warp, in, lane, bytes, Space::global, source, stamp::in_lane(reading, lane), false});
    } else {
      for (std::uint32_t i = 0; i < std::min(source_bytes, bytes); ++i)
        access({warp, in, lane, 1, Space::global, source + i, stamp::in_lane(reading, lane), false});
    }
    std::uint64_t to = 0;
    std::memcpy(&to, warp.registers + in.d + lane * (in.destination_is_64 ? 8 : 4), in.destination_is_64 ? 8 : 4);
    to += static_cast<std::uint64_t>(std::int64_t{in.displacement});
    const std::uint32_t group = std::min(warp.committed[lane] + 1, stamp::kMostTime);
    const Stamp me = stamp::in_lane(stamp::make(group, 2 * warp.index + 1, at, 0), lane);
    access({warp, in, lane, bytes, Space::shared, to, me, true});
  }
}

/// Whether an access by the same CTA comes before this one; where it need not, and one of them writes, is a defect.
void SanitizerInstrument::check(Stamp earlier, bool earlier_writes, const Access& a) {
  const Order order = clocks_.order(earlier, a.warp.index, a.lane);
  if (order == Order::ordered) return;
  if (order == Order::in_flight) return find_conflict(Defect::copy_in_flight, a, earlier, clocks_.cta(), true);
  if (stamp::strength(earlier) != 0 && stamp::strength(a.me) != 0) return;
  if (earlier_writes && a.writes && stores_the_same(earlier, a)) return;
  find_conflict(Defect::race, a, earlier, clocks_.cta(), earlier_writes);
}

void SanitizerInstrument::check_foreign(Stamp earlier, std::uint32_t cta, bool earlier_writes, const Access& a) {
  if (cta < map_.launch_cta || (stamp::strength(earlier) == 2 && stamp::strength(a.me) == 2)) return;
  const auto& elsewhere = clocks_[a.warp.index].knowledge().elsewhere;
  const auto known = elsewhere.find(cta);
  if (known != elsewhere.end() && stamp::time(earlier) < known->second[stamp::source(earlier)]) return;
  find_conflict(Defect::race, a, earlier, cta, earlier_writes);
}

/// Two lanes of one store may write the same value to one place: whichever comes last, it is there.
bool SanitizerInstrument::stores_the_same(Stamp earlier, const Access& a) const {
  const bool same_store = stamp::source(earlier) == stamp::source(a.me) && stamp::time(earlier) == stamp::time(a.me) &&
                          stamp::instruction(earlier) == stamp::instruction(a.me);
  const InstructionInfo& info = kernel_->info[index_of(a.in)];
  if (!same_store || info.form.op != Op::st) return false;
  const unsigned other = stamp::lane(earlier);
  if (access_address(a.warp, a.in, other) != a.address) return false;
  const unsigned element = bytes_of(info.form.type), bytes = info.form.register_bytes;
  for (unsigned n = 0; n < info.form.count; ++n) {
    const std::byte* value = a.warp.registers + (info.form.count == 1 ? a.in.d : a.in.list[n]);
    if (std::memcmp(value + other * bytes, value + a.lane * bytes, element) != 0) return false;
  }
  return true;
}

/// The last read of each warp counts, or of all that do not know of one another.
void SanitizerInstrument::add_reader(Stamp& read, Crowds& crowds, const Access& a) {
  Stamp* own = &read;
  if (is_crowd(read)) {
    own = crowds.of(read) + a.warp.index;
  } else if (read != 0 && stamp::source(read) != stamp::source(a.me)) {
    if (clocks_[a.warp.index].knows(read)) {
      read = a.me;
      return;
    }
    const Stamp first = std::exchange(read, crowds.make());
    crowds.of(read)[stamp::warp(first)] = first;
    own = crowds.of(read) + a.warp.index;
  }
  Stamp me = a.me;
  if (*own != 0 && stamp::time(*own) == stamp::time(me) &&
      (stamp::lane(*own) != stamp::lane(me) || stamp::several_lanes(*own)))
    me |= Stamp{1} << stamp::kSeveralAt;
  *own = me;
}

void SanitizerInstrument::check_readers(Stamp read, Crowds& crowds, const Access& a) {
  if (!is_crowd(read)) return check(read, false, a);
  for (std::size_t i = 0; i < crowds.warps(); ++i)
    if (const Stamp reader = crowds.of(read)[i]; reader != 0) check(reader, false, a);
  crowds.release(read);
}

void SanitizerInstrument::read(SharedCell& cell, const Access& a) {
  if (!clocks_[a.warp.index].knows(cell.write)) {
    if (cell.write == stamp::kUnwritten) return find_unwritten(a);
    check(cell.write, true, a);
  }
  add_reader(cell.read, shared_crowds_, a);
}

void SanitizerInstrument::write(SharedCell& cell, const Access& a) {
  const bool unwritten = cell.write == stamp::kUnwritten;
  if (unwritten && kernel_->info[index_of(a.in)].access == MemoryAccess::atomic) find_unwritten(a);
  if (!unwritten) check(cell.write, true, a);
  if (cell.read != 0) check_readers(cell.read, shared_crowds_, a);
  cell = {a.me, 0};
}

void SanitizerInstrument::read(GlobalCell& cell, const Access& a) {
  const std::uint32_t cta = clocks_.cta();
  if (cell.write != 0) {
    if (cell.write_cta == cta)
      check(cell.write, true, a);
    else
      check_foreign(cell.write, cell.write_cta, true, a);
  }
  if (cell.read_cta != cta) {
    if (cell.read_cta >= map_.launch_cta && cell.read != 0) {
      cell.foreign = cell.read;
      cell.foreign_cta = cell.read_cta;
      if (is_crowd(cell.read)) {
        for (std::size_t i = 0; i < map_.crowds.warps(); ++i)
          if (const Stamp reader = map_.crowds.of(cell.read)[i]; reader != 0) cell.foreign = reader;
        map_.crowds.release(cell.read);
      }
    }
    cell.read = a.me;
    cell.read_cta = cta;
    return;
  }
  add_reader(cell.read, map_.crowds, a);
}

void SanitizerInstrument::write(GlobalCell& cell, const Access& a) {
  const std::uint32_t cta = clocks_.cta();
  if (cell.write != 0) {
    if (cell.write_cta == cta)
      check(cell.write, true, a);
    else
      check_foreign(cell.write, cell.write_cta, true, a);
  }
  if (cell.read != 0 && cell.read_cta >= map_.launch_cta) {
    if (cell.read_cta == cta) {
      check_readers(cell.read, map_.crowds, a);
    } else {
      Stamp reader = cell.read;
      if (is_crowd(reader)) {
        for (std::size_t i = 0; i < map_.crowds.warps(); ++i)
          if (const Stamp one = map_.crowds.of(cell.read)[i]; one != 0) reader = one;
        map_.crowds.release(cell.read);
      }
      check_foreign(reader, cell.read_cta, false, a);
    }
  }
  if (cell.foreign != 0) check_foreign(cell.foreign, cell.foreign_cta, false, a);
  cell = {.write = a.me, .write_cta = cta};
}

}  // namespace librt::ptx
