// Instructions in which the lanes of a warp meet: shuffles, votes, matches, reductions.
#pragma once

#include "src/ptx/handlers/lanes.inl"

template <Op op>
void shuffle(Warp& w, const Instruction& in, std::uint32_t mask) {
  std::uint32_t value[kLanes], result[kLanes];
  __builtin_memcpy(value, w.registers + in.a, sizeof value);
  const std::byte* b = w.registers + in.b;
  const std::byte* c = w.registers + in.c;
  std::uint32_t found = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    const std::uint32_t offset = get<std::uint32_t>(b, lane) & 31u, bound = get<std::uint32_t>(c, lane);
    const std::uint32_t segment = (bound >> 8) & 31u, clamp = bound & 31u;
    const std::uint32_t first = lane & segment, limit = first | (clamp & ~segment);
    std::uint32_t from = 0;
    bool inside = false;
    if constexpr (op == Op::shfl_up) {
      from = lane - offset;
      inside = static_cast<std::int32_t>(from) >= static_cast<std::int32_t>(limit);
    } else {
      from = op == Op::shfl_down ? lane + offset : op == Op::shfl_bfly ? lane ^ offset : first | (offset & ~segment);
      inside = from <= limit;
    }
    result[lane] = value[inside ? from & 31u : lane];
    found |= (inside ? 1u : 0u) << lane;
  }
  for_lanes<std::uint32_t>(w, in.d, mask, [&result](unsigned i) { return result[i]; });
  if (in.target != 0) set_predicate(w, in.target, found, mask);
}

template <Op op>
void vote(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::uint32_t value = (predicate(w, in.a) ^ (in.operand_negated ? kFullWarp : 0u)) & mask;
  if constexpr (op == Op::vote_ballot) {
    for_lanes<std::uint32_t>(w, in.d, mask, [value](unsigned) { return value; });
  } else {
    const bool result = op == Op::vote_all   ? value == mask
                        : op == Op::vote_any ? value != 0
                                             : value == 0 || value == mask;
    set_predicate(w, in.d, result ? kFullWarp : 0u, mask);
  }
}

template <bool all, class T>
void match(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::byte* a = w.registers + in.a;
  std::uint32_t equal[kLanes] = {};
  for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const unsigned lane = first_lane(rest);
    equal[lane] = mask & lanes_where([=](unsigned i) { return get<T>(a, i) == get<T>(a, lane); });
  }
  if constexpr (all) {
    const bool same = equal[first_lane(mask)] == mask;
    for_lanes<std::uint32_t>(w, in.d, mask, [=](unsigned) { return same ? mask : 0u; });
    if (in.target != 0) set_predicate(w, in.target, same ? kFullWarp : 0u, mask);
  } else {
    for_lanes<std::uint32_t>(w, in.d, mask, [&equal](unsigned i) { return equal[i]; });
  }
}

template <Op op, class T>
void reduce_warp(Warp& w, const Instruction& in, std::uint32_t mask) {
  const std::byte* a = w.registers + in.a;
  T result = get<T>(a, first_lane(mask));
  for (std::uint32_t rest = mask & (mask - 1); rest != 0; rest &= rest - 1) {
    const T value = get<T>(a, first_lane(rest));
    if constexpr (op == Op::redux_add)
      result = static_cast<T>(static_cast<std::uint32_t>(result) + static_cast<std::uint32_t>(value));
    if constexpr (op == Op::redux_min) result = value < result ? value : result;
    if constexpr (op == Op::redux_max) result = result < value ? value : result;
    if constexpr (op == Op::redux_and) result &= value;
    if constexpr (op == Op::redux_or) result |= value;
    if constexpr (op == Op::redux_xor) result ^= value;
  }
  for_lanes<T>(w, in.d, mask, [result](unsigned) { return result; });
}

inline void elect_leader(Warp& w, const Instruction& in, std::uint32_t mask) {
  const unsigned leader = first_lane(mask);
  for_lanes<std::uint32_t>(w, in.d, mask, [leader](unsigned) { return leader; });
  set_predicate(w, in.target, 1u << leader, mask);
}

inline void active_mask(Warp& w, const Instruction& in, std::uint32_t mask) {
  for_lanes<std::uint32_t>(w, in.d, mask, [mask](unsigned) { return mask; });
}

inline void nothing(Warp&, const Instruction&, std::uint32_t) {}

/// Clocks count the warp's own instructions: they move, and they are the same in every run.
template <class T>
void read_clock(Warp& w, const Instruction& in, std::uint32_t mask) {
  const auto now = static_cast<T>(w.executed);
  for_lanes<T>(w, in.d, mask, [now](unsigned) { return now; });
}

inline void trap(Warp& w, const Instruction& in, std::uint32_t mask) {
  raise(w, in, first_lane(mask), Fault::trap, "the kernel executed trap");
}
