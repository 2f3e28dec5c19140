// Access to the lanes of a register. These files are included twice, once per instruction set, into an unnamed
// namespace; nothing in them may call a library template out of line, which the linker could take from either copy.
#pragma once

template <class To, class From>
inline To bits_to(From value) {
  return __builtin_bit_cast(To, value);
}

template <class T>
inline T get(const std::byte* lanes, unsigned lane) {
  T value;
  __builtin_memcpy(&value, lanes + lane * sizeof(T), sizeof(T));
  return value;
}

template <class T>
inline void put(std::byte* lanes, unsigned lane, T value) {
  __builtin_memcpy(lanes + lane * sizeof(T), &value, sizeof(T));
}

inline std::uint32_t predicate(const Warp& warp, std::uint32_t offset) {
  std::uint32_t mask;
  __builtin_memcpy(&mask, warp.registers + offset, sizeof mask);
  return mask;
}

inline void set_predicate(Warp& warp, std::uint32_t offset, std::uint32_t value, std::uint32_t mask) {
  const std::uint32_t merged = (predicate(warp, offset) & ~mask) | (value & mask);
  __builtin_memcpy(warp.registers + offset, &merged, sizeof merged);
}

inline unsigned first_lane(std::uint32_t mask) {
  return static_cast<unsigned>(__builtin_ctz(mask));
}

/// d[lane] = compute(lane) for the lanes of mask. A register is either the destination itself or apart from it.
template <class D, class Compute>
inline void for_lanes(Warp& warp, std::uint32_t destination, std::uint32_t mask, Compute compute) {
  std::byte* d = warp.registers + destination;
  if (mask == kFullWarp) {
#pragma GCC ivdep
    for (unsigned lane = 0; lane < kLanes; ++lane) put<D>(d, lane, compute(lane));
    return;
  }
  D result[kLanes];
#pragma GCC ivdep
  for (unsigned lane = 0; lane < kLanes; ++lane) result[lane] = compute(lane);
#pragma GCC ivdep
  for (unsigned lane = 0; lane < kLanes; ++lane) put<D>(d, lane, in_mask(mask, lane) ? result[lane] : get<D>(d, lane));
}

/// The mask of lanes for which test(lane) holds.
template <class Test>
inline std::uint32_t lanes_where(Test test) {
  std::uint32_t bits = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) bits |= (test(lane) ? 1u : 0u) << lane;
  return bits;
}

template <class D, class A, class F>
inline void unary(Warp& w, const Instruction& in, std::uint32_t mask, F f) {
  const std::byte* a = w.registers + in.a;
  for_lanes<D>(w, in.d, mask, [=](unsigned i) { return static_cast<D>(f(get<A>(a, i))); });
}

template <class D, class A, class B, class F>
inline void binary(Warp& w, const Instruction& in, std::uint32_t mask, F f) {
  const std::byte* a = w.registers + in.a;
  const std::byte* b = w.registers + in.b;
  for_lanes<D>(w, in.d, mask, [=](unsigned i) { return static_cast<D>(f(get<A>(a, i), get<B>(b, i))); });
}

template <class D, class A, class B, class C, class F>
inline void ternary(Warp& w, const Instruction& in, std::uint32_t mask, F f) {
  const std::byte* a = w.registers + in.a;
  const std::byte* b = w.registers + in.b;
  const std::byte* c = w.registers + in.c;
  for_lanes<D>(w, in.d, mask, [=](unsigned i) { return static_cast<D>(f(get<A>(a, i), get<B>(b, i), get<C>(c, i))); });
}
