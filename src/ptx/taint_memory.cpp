// Labels of loads, stores, atomics and copies.
#include <algorithm>
#include <cstring>

#include "src/ptx/taint_instrument.hpp"

namespace librt::ptx {
namespace {

constexpr unsigned kMostBytes = 16;  // of one lane's access

}  // namespace

TaintInstrument::LabelRange TaintInstrument::place(Warp& warp, const Instruction& in, unsigned lane, Space space,
                                                   std::uint64_t address, std::uint32_t bytes, AccessMode mode) {
  // Complains where the access itself would.
  const std::byte* host = translate(warp, in, lane, space, address, bytes, mode);
  switch (target_of(space, address)) {
    case Space::shared:
      return {shared_.data() + (host - warp.cta->shared.data())};
    case Space::local:
      return {local_[warp.index].data() + (host - warp.local.data())};
    case Space::param:
      return {};
    default: {
      TaintMap::Impl::Slot& slot = map_.slot_of(address);
      return {slot.labels.data() + (address & ((std::uint64_t{1} << Memory::Impl::kSlotShift) - 1)), &slot};
    }
  }
}

void TaintInstrument::check_output(const Warp& warp, const Instruction& in, unsigned lane, const LabelRange& place,
                                   const Labels* labels, std::uint32_t bytes) {
  if (place.slot == nullptr || place.slot->forbidden.empty()) return;
  const Labels* forbidden = place.slot->forbidden.data() + (place.labels - place.slot->labels.data());
  for (std::uint32_t i = 0; i < bytes; ++i) {
    const auto found = static_cast<Labels>(labels[i] & forbidden[i]);
    if (found != 0) return find(warp, in, lane, Dependence::output, found);
  }
}

void TaintInstrument::write(const LabelRange& place, const Labels* labels, std::uint32_t bytes) {
  if (place.labels == nullptr) return;
  if (place.slot != nullptr && !place.slot->labelled.load(std::memory_order_relaxed)) {
    if (std::all_of(labels, labels + bytes, [](Labels l) { return l == 0; })) return;
    place.slot->labelled.store(true, std::memory_order_relaxed);
  }
  std::memcpy(place.labels, labels, bytes);
}

Labels TaintInstrument::address_labels(const Warp& warp, const Instruction& in, unsigned lane) {
  const Register address{in.a, static_cast<std::uint8_t>(in.address_is_32 ? 4 : 8)};
  const Labels labels = shadow(warp).any(address, lane);
  if ((labels & options_.watched) != 0) find(warp, in, lane, Dependence::address, labels);
  return labels;
}

void TaintInstrument::load(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask) {
  const Form& form = info.form;
  const unsigned element = bytes_of(form.type);
  const std::uint8_t bytes = form.register_bytes;
  WarpShadow& registers = shadow(warp);
  Labels all = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    const Labels of_address = address_labels(warp, in, lane);
    const LabelRange from =
        place(warp, in, lane, in.space, access_address(warp, in, lane), info.access_bytes, AccessMode::read);
    Labels loaded[kMostBytes] = {};
    if (readable(from)) std::memcpy(loaded, from.labels, info.access_bytes);
    for (unsigned n = 0; n < form.count; ++n) {
      Word word = 0;
      std::memcpy(&word, loaded + n * element, element);
      if (bytes > element && is_signed(form.type))
        word |= in_each(loaded[(n + 1) * element - 1], bytes) & ~low_bytes(element);
      word |= in_each(of_address, bytes);
      all |= any_of(word);
      registers.set({form.count == 1 ? in.d : in.list[n], bytes}, lane, word);
    }
  }
  if (all == 0) clear(warp, info.written, mask);
}

void TaintInstrument::store(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask) {
  const Form& form = info.form;
  const unsigned element = bytes_of(form.type);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    Labels extra = address_labels(warp, in, lane);
    if (guarded_ == &in) extra |= guard_labels_[lane];
    const LabelRange to =
        place(warp, in, lane, in.space, access_address(warp, in, lane), info.access_bytes, AccessMode::write);
    Labels stored[kMostBytes];
    for (unsigned n = 0; n < form.count; ++n) {
      const Word word =
          shadow(warp).get({form.count == 1 ? in.d : in.list[n], form.register_bytes}, lane) | in_each(extra, element);
      std::memcpy(stored + n * element, &word, element);
    }
    check_output(warp, in, lane, to, stored, info.access_bytes);
    write(to, stored, info.access_bytes);
  }
}

/// Lanes one after another, as the handler runs them.
void TaintInstrument::atomic(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask) {
  const auto bytes = static_cast<std::uint8_t>(info.access_bytes);
  const bool exchanges = info.form.op == Op::atom_exch;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    WarpShadow& registers = shadow(warp);
    Labels extra = address_labels(warp, in, lane);
    if (guarded_ == &in) extra |= guard_labels_[lane];
    const LabelRange at = place(warp, in, lane, in.space, access_address(warp, in, lane), bytes, AccessMode::write);
    Word old = 0;
    if (readable(at)) std::memcpy(&old, at.labels, bytes);
    const Word b = registers.get({in.b, bytes}, lane);
    const Labels c = info.form.op == Op::atom_cas ? registers.any({in.c, bytes}, lane) : Labels{0};
    const Word result =
        (exchanges ? b : in_each(static_cast<Labels>(any_of(old) | any_of(b) | c), bytes)) | in_each(extra, bytes);
    Labels stored[8];
    std::memcpy(stored, &result, sizeof stored);
    check_output(warp, in, lane, at, stored, bytes);
    write(at, stored, bytes);
    if (in.d != 0) registers.set({in.d, bytes}, lane, old | in_each(extra, bytes));
  }
}

/// The bytes' own labels are read when they land; here it is about where they go and how many they are.
void TaintInstrument::copy(Warp& warp, const Instruction& in, std::uint32_t mask) {
  const Register destination{in.d, static_cast<std::uint8_t>(in.destination_is_64 ? 8 : 4)};
  const Register source{in.a, 8}, size{in.c, 4}, ignored{in.e, 0};
  const WarpShadow& registers = shadow(warp);
  const bool any = registers.labelled(in.d) || registers.labelled(in.a) || (in.c != 0 && registers.labelled(in.c)) ||
                   (in.e != 0 && registers.labelled(in.e)) || guarded_ == &in;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    std::uint64_t to = 0;
    std::memcpy(&to, warp.registers + in.d + lane * destination.bytes, destination.bytes);
    to += static_cast<std::uint64_t>(std::int64_t{in.displacement}) - kSharedBase;
    if (to / kSmallestCopy >= copy_places_.size()) continue;  // the handler refuses it
    CopyPlace& place = copy_places_[to / kSmallestCopy];
    ++place.under_way;
    if (!any) continue;
    Labels extra = static_cast<Labels>(registers.any(destination, lane) | registers.any(source, lane));
    if ((extra & options_.watched) != 0) find(warp, in, lane, Dependence::address, extra);
    if (in.c != 0) extra |= registers.any(size, lane);
    if (in.e != 0) extra |= registers.any(ignored, lane);
    if (guarded_ == &in) extra |= guard_labels_[lane];
    place.labels |= extra;
  }
}

}  // namespace librt::ptx
