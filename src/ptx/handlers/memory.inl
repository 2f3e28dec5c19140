// Loads, stores, atomics, address conversion and cp.async.
#pragma once

#include "src/ptx/handlers/float.inl"

struct LanePointers {
  std::byte* at[kLanes];
};

inline std::uint64_t lane_address(const Warp& w, const Instruction& in, unsigned lane) {
  const std::byte* a = w.registers + in.a;
  const std::uint64_t base = in.address_is_32 ? get<std::uint32_t>(a, lane) : get<std::uint64_t>(a, lane);
  return base + static_cast<std::uint64_t>(in.immediate);
}

/// True if every lane's access of `bytes` lies in the object at [base, base + size) and is aligned; then `out` is set.
inline bool all_inside(const std::uint64_t* address, std::uint32_t mask, std::uint64_t base, std::uint64_t size,
                       std::byte* data, std::uint32_t bytes, LanePointers& out) {
  if (size < bytes) return false;
  const std::uint64_t limit = size - bytes, misalignment = bytes - 1;
  std::uint64_t bad = 0;
#pragma GCC ivdep
  for (unsigned i = 0; i < kLanes; ++i) {
    const std::uint64_t offset = address[i] - base;
    const std::uint64_t active = (mask >> i) & 1u;
    // The top bit of limit - offset is set when the offset is past the limit; both are far below 2^63.
    bad |= (std::uint64_t{0} - active) &
           (((offset | (limit - offset)) & (std::uint64_t{1} << 63)) | (offset & misalignment));
    // As a number: the pointers of inactive lanes point nowhere.
    out.at[i] = reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(data) + offset);
  }
  return bad == 0;
}

inline void resolve(Warp& w, const Instruction& in, std::uint32_t mask, Space space, std::uint32_t bytes,
                    AccessMode mode, LanePointers& out) {
  std::uint64_t address[kLanes];
  const std::byte* a = w.registers + in.a;
  const auto displacement = static_cast<std::uint64_t>(in.immediate);
  if (in.address_is_32) {
    for (unsigned i = 0; i < kLanes; ++i) address[i] = get<std::uint32_t>(a, i) + displacement;
  } else {
    for (unsigned i = 0; i < kLanes; ++i) address[i] = get<std::uint64_t>(a, i) + displacement;
  }
  const std::uint64_t first = address[first_lane(mask)];
  Cta& cta = *w.cta;
  if (space == Space::shared || (space == Space::generic && (first & kWindowMask) == kSharedWindow)) {
    const std::uint64_t base = (space == Space::shared ? 0 : kSharedWindow) + kSharedBase;
    if (all_inside(address, mask, base, cta.shared.size(), cta.shared.data(), bytes, out)) return;
  } else if (space == Space::global || space == Space::generic || space == Space::constant) {
    const Allocation* slot = cta.launch->memory->slot_of(first);
    if (slot != nullptr && slot->read_only == (space == Space::constant) && mode <= AccessMode::write &&
        all_inside(address, mask, slot->base, slot->bytes, slot->data, bytes, out))
      return;
  }
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    out.at[lane] = translate(w, in, lane, space, address[lane], bytes, mode);
  }
}

template <class Element, class Register, bool extend_sign, unsigned count>
void load(Warp& w, const Instruction& in, std::uint32_t mask) {
  LanePointers from;
  resolve(w, in, mask, in.space, sizeof(Element) * count, AccessMode::read, from);
  using Signed = std::make_signed_t<Element>;
  const auto widen = [](Element value) {
    return extend_sign ? static_cast<Register>(static_cast<std::make_signed_t<Register>>(static_cast<Signed>(value)))
                       : static_cast<Register>(value);
  };
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    Element value[count];
    __builtin_memcpy(value, from.at[lane], sizeof value);
    if constexpr (count == 1) {
      put<Register>(w.registers + in.d, lane, widen(value[0]));
    } else {
      for (unsigned n = 0; n < count; ++n) put<Register>(w.registers + in.list[n], lane, widen(value[n]));
    }
  }
}

template <class Element, class Register, unsigned count>
void store(Warp& w, const Instruction& in, std::uint32_t mask) {
  LanePointers to;
  resolve(w, in, mask, in.space, sizeof(Element) * count, AccessMode::write, to);
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    Element value[count];
    if constexpr (count == 1) {
      value[0] = static_cast<Element>(get<Register>(w.registers + in.d, lane));
    } else {
      for (unsigned n = 0; n < count; ++n)
        value[n] = static_cast<Element>(get<Register>(w.registers + in.list[n], lane));
    }
    __builtin_memcpy(to.at[lane], value, sizeof value);
  }
}

/// Lanes one after another, lowest first. d = null offset for red.
template <Op op, class T, bool is_float>
inline T atomic_result(T old, T b, T c) {
  if constexpr (op == Op::atom_exch) return b;
  if constexpr (op == Op::atom_cas) return old == b ? c : old;
  if constexpr (op == Op::atom_and) return static_cast<T>(old & b);
  if constexpr (op == Op::atom_or) return static_cast<T>(old | b);
  if constexpr (op == Op::atom_xor) return static_cast<T>(old ^ b);
  if constexpr (op == Op::atom_min) return b < old ? b : old;
  if constexpr (op == Op::atom_max) return old < b ? b : old;
  if constexpr (op == Op::atom_inc) return old >= b ? T{0} : static_cast<T>(old + 1);
  if constexpr (op == Op::atom_dec) return old == 0 || old > b ? b : static_cast<T>(old - 1);
  if constexpr (op == Op::atom_add) {
    if constexpr (is_float && sizeof(T) == 4)
      return write32<false, false>(bits_to<float>(old) + bits_to<float>(b));
    else if constexpr (is_float)
      return write64(bits_to<double>(old) + bits_to<double>(b));
    else
      return static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) + static_cast<std::make_unsigned_t<T>>(b));
  }
}

template <Op op, class T, bool is_float>
void atomic(Warp& w, const Instruction& in, std::uint32_t mask) {
  LanePointers at;
  resolve(w, in, mask, in.space, sizeof(T), AccessMode::write, at);
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    const T old = get<T>(at.at[lane], 0);
    const T b = get<T>(w.registers + in.b, lane);
    const T c = op == Op::atom_cas ? get<T>(w.registers + in.c, lane) : T{0};
    put<T>(at.at[lane], 0, atomic_result<op, T, is_float>(old, b, c));
    if (in.d != 0) put<T>(w.registers + in.d, lane, old);
  }
}

/// cvta to and from a generic address; `immediate` is the window.
template <bool to_generic, class T>
void convert_address(Warp& w, const Instruction& in, std::uint32_t mask) {
  const auto window = static_cast<std::uint64_t>(in.immediate);
  unary<std::uint64_t, T>(w, in, mask, [window](T a) { return to_generic ? a + window : a - window; });
}

template <Space space>
void is_space(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::byte* a = w.registers + in.a;
  const Memory::Impl* memory = w.cta->launch->memory;
  set_predicate(w, in.d, lanes_where([=](unsigned i) {
                  const std::uint64_t address = get<std::uint64_t>(a, i);
                  const std::uint64_t window = address & kWindowMask;
                  if constexpr (space == Space::shared) return window == kSharedWindow;
                  if constexpr (space == Space::local) return window == kLocalWindow;
                  if constexpr (space == Space::param) return window == kParamWindow;
                  const Allocation* slot = memory->slot_of(address);
                  if constexpr (space == Space::constant) return slot != nullptr && slot->read_only;
                  return window != kSharedWindow && window != kLocalWindow && window != kParamWindow;
                }),
                mask);
}

/// cp.async: d = shared address, a = global address, `target` = bytes, c = source bytes (0: as many as `target`).
inline void copy_async(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::uint32_t bytes = in.target;
  Cta& cta = *w.cta;
  const CopyTiming timing = cta.launch->options->copy_timing;
  LanePointers from;
  std::uint32_t reads = mask;
  std::uint32_t source_bytes[kLanes];
  for (unsigned i = 0; i < kLanes; ++i) source_bytes[i] = in.c != 0 ? get<std::uint32_t>(w.registers + in.c, i) : bytes;
  if (in.e != 0) {
    const std::uint32_t ignored = predicate(w, in.e) ^ (in.operand_negated ? kFullWarp : 0u);
    for (unsigned i = 0; i < kLanes; ++i) source_bytes[i] = in_mask(ignored, i) ? 0 : source_bytes[i];
  }
  reads &= lanes_where([&](unsigned i) { return source_bytes[i] != 0; });
  const std::uint32_t full = reads & lanes_where([&](unsigned i) { return source_bytes[i] == bytes; });
  if (full != 0) resolve(w, in, full, Space::global, bytes, AccessMode::read, from);
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    if (in_mask(reads & ~full, lane)) {
      if (source_bytes[lane] > bytes)
        raise(w, in, lane, Fault::out_of_bounds, "the source size is above the copy size");
      if ((lane_address(w, in, lane) & (bytes - 1)) != 0)
        raise(w, in, lane, Fault::misaligned, "the source address is not aligned to the copy size");
      from.at[lane] = translate(w, in, lane, Space::global, lane_address(w, in, lane) + source_bytes[lane] - 1, 1,
                                AccessMode::read);
      from.at[lane] = translate(w, in, lane, Space::global, lane_address(w, in, lane), 1, AccessMode::read);
    }
    const std::byte* d = w.registers + in.d;
    const std::uint64_t to = (in.destination_is_64 ? get<std::uint64_t>(d, lane) : get<std::uint32_t>(d, lane)) +
                             static_cast<std::uint64_t>(std::int64_t{in.displacement});
    const std::uint64_t offset = to - kSharedBase;
    if (offset > cta.shared.size() || cta.shared.size() - offset < bytes || (offset & (bytes - 1)) != 0)
      translate(w, in, lane, Space::shared, to, bytes, AccessMode::write);
    const PendingCopy copy{in_mask(reads, lane) ? from.at[lane] : nullptr,
                           static_cast<std::uint32_t>(offset),
                           static_cast<std::uint8_t>(bytes),
                           static_cast<std::uint8_t>(source_bytes[lane]),
                           static_cast<std::uint8_t>(lane),
                           w.committed[lane]};
    if (timing == CopyTiming::early)
      finish_copy(w, copy);
    else
      w.copies.push_back(copy);
  }
  if (timing == CopyTiming::random) complete_random_copies(w);
}

inline void commit_copies(Warp& w, const Instruction&, std::uint32_t mask) {
  for (unsigned i = 0; i < kLanes; ++i) w.committed[i] += in_mask(mask, i) ? 1u : 0u;
  if (w.cta->launch->options->copy_timing == CopyTiming::random) complete_random_copies(w);
}

/// `immediate`: how many of the newest groups may stay under way; wait_all commits first (target = 1).
inline void wait_copies(Warp& w, const Instruction& in, std::uint32_t mask) {
  if (in.target != 0) commit_copies(w, in, mask);
  complete_copies(w, mask, static_cast<std::uint32_t>(in.immediate));
}
