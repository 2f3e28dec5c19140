// Who knows of whose accesses: the happens-before order of the PTX memory model, kept per warp, and per lane inside a
// warp. Wherever it is coarse it takes more to be ordered than is, so that no report is false: a barrier or a release
// by one lane publishes all that its warp did before.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <vector>

#include "src/ptx/warp.hpp"

namespace librt::ptx {

/// One access, in 64 bits: when (a warp's time, or the group of a cp.async), who, which instruction, how strong.
using Stamp = std::uint64_t;

namespace stamp {

constexpr unsigned kTimeAt = 38, kSourceAt = 32, kSeveralAt = 31, kLaneAt = 26, kInstructionAt = 2;
constexpr std::uint32_t kMostTime = (1u << 26) - 4;
/// Sorts after every time: never ordered, so that what is not an access takes the slow path.
constexpr Stamp kUnwritten = ~Stamp{0};

constexpr std::uint32_t time(Stamp s) {
  return static_cast<std::uint32_t>(s >> kTimeAt);
}
/// 2 * warp, and 1 more for a copy: whose time it is.
constexpr unsigned source(Stamp s) {
  return static_cast<unsigned>(s >> kSourceAt) & 63u;
}
constexpr unsigned warp(Stamp s) {
  return source(s) / 2;
}
constexpr bool is_copy(Stamp s) {
  return (source(s) & 1u) != 0;
}
constexpr unsigned lane(Stamp s) {
  return static_cast<unsigned>(s >> kLaneAt) & 31u;
}
constexpr bool several_lanes(Stamp s) {
  return ((s >> kSeveralAt) & 1u) != 0;
}
constexpr std::size_t instruction(Stamp s) {
  return static_cast<std::size_t>(s >> kInstructionAt) & 0xffffffu;
}
/// 0: weak, 1: strong inside the CTA, 2: strong everywhere
constexpr unsigned strength(Stamp s) {
  return static_cast<unsigned>(s) & 3u;
}
constexpr Stamp make(std::uint32_t time, unsigned source, std::size_t instruction, unsigned strength) {
  return Stamp{time} << kTimeAt | Stamp{source} << kSourceAt | (Stamp{instruction} & 0xffffffu) << kInstructionAt |
         strength;
}
constexpr Stamp in_lane(Stamp s, unsigned lane) {
  return s | Stamp{lane} << kLaneAt;
}

}  // namespace stamp

/// Of each source in one CTA, the time from which on its accesses are not yet known.
using Known = std::array<std::uint32_t, 64>;

/// What can be handed on: knowledge of this CTA and of earlier ones.
struct Knowledge {
  Known here;
  std::map<std::uint32_t, Known> elsewhere;  ///< by CTA

  Knowledge() { here.fill(1); }
  void join(const Knowledge& other);
};

void join(Known& into, const Known& from);

enum class Order : std::uint8_t { ordered, unordered, in_flight };

/// The clock of one warp.
class WarpClock {
 public:
  void start(unsigned warp);

  std::uint32_t time() const { return time_; }
  bool knows(Stamp s) const { return stamp::time(s) < knowledge_.here[stamp::source(s)]; }
  const Knowledge& knowledge() const { return knowledge_; }

  /// All that the warp has done and knows, for others; what it does from now on is not in it.
  Knowledge release(std::uint32_t live);
  void acquire(const Knowledge& from) { knowledge_.join(from); }
  /// The lanes of `mask` met.
  void meet(std::uint32_t mask, std::uint32_t live);
  /// Of two lanes of this warp: whether `lane` knows of what `other` did at `time`.
  bool met(unsigned lane, unsigned other, std::uint32_t time) const {
    return meetings_ != nullptr && time < (*meetings_)[lane][other];
  }

  /// Groups of copies before `groups` have arrived for `lane`.
  void copies_done(unsigned lane, std::uint32_t groups);
  /// 0: under way
  std::uint32_t copy_time(unsigned lane, std::uint32_t group) const {
    return group < done_[lane].size() ? done_[lane][group] : 0;
  }

  // Strong accesses and fences.
  void fence(std::uint32_t live);
  std::unique_ptr<Knowledge> fenced;   ///< as of the last fence: what a relaxed write publishes
  std::unique_ptr<Knowledge> pending;  ///< from relaxed reads: known after the next fence

 private:
  std::uint32_t complete_groups(std::uint32_t live) const;

  unsigned warp_ = 0;
  std::uint32_t time_ = 1;
  Knowledge knowledge_;
  std::array<std::vector<std::uint32_t>, kLanes> done_;  ///< when each group of copies had arrived
  using Meetings = std::array<std::array<std::uint32_t, kLanes>, kLanes>;
  std::unique_ptr<Meetings> meetings_;  ///< of parts of the warp
};

/// The clocks of one CTA.
class CtaClocks {
 public:
  /// @param cta unlike that of any other CTA that has stamps
  void start(std::uint32_t cta, std::size_t warps);

  std::uint32_t cta() const { return cta_; }
  WarpClock& operator[](std::size_t warp) { return warps_[warp]; }
  const WarpClock& operator[](std::size_t warp) const { return warps_[warp]; }
  std::size_t size() const { return warps_.size(); }

  /// Whether an access stamped `earlier` in this CTA comes before what `lane` of `warp` does now.
  Order order(Stamp earlier, unsigned warp, unsigned lane) const {
    return warps_[warp].knows(earlier) ? Order::ordered : slow_order(earlier, warp, lane);
  }

  void arrive(const Warp& warp, unsigned barrier, bool waits);
  void release(const Cta& cta, unsigned barrier);

 private:
  Order slow_order(Stamp earlier, unsigned warp, unsigned lane) const;

  struct Barrier {
    std::vector<Knowledge> arrived;
    std::vector<std::uint32_t> waiting;  ///< warps
  };
  std::uint32_t cta_ = 0;
  std::vector<WarpClock> warps_;
  std::array<Barrier, 16> barriers_;
};

}  // namespace librt::ptx
