#include "src/ptx/sanitizer_clock.hpp"

#include <algorithm>

namespace librt::ptx {

void join(Known& into, const Known& from) {
  for (std::size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}

void Knowledge::join(const Knowledge& other) {
  ptx::join(here, other.here);
  for (const auto& [cta, known] : other.elsewhere) {
    const auto [at, inserted] = elsewhere.try_emplace(cta, known);
    if (!inserted) ptx::join(at->second, known);
  }
}

void WarpClock::start(unsigned warp) {
  warp_ = warp;
  time_ = 1;
  knowledge_.here.fill(1);
  knowledge_.elsewhere.clear();
  for (auto& lane : done_) lane.clear();
  meetings_.reset();
  fenced.reset();
  pending.reset();
}

std::uint32_t WarpClock::complete_groups(std::uint32_t live) const {
  std::size_t least = stamp::kMostTime;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (((live >> lane) & 1u) != 0) least = std::min(least, done_[lane].size());
  return live == 0 ? 0 : static_cast<std::uint32_t>(least);
}

Knowledge WarpClock::release(std::uint32_t live) {
  Knowledge all = knowledge_;
  all.here[2 * warp_] = time_ + 1;
  // The stamp of a copy has its group, counted from 1.
  all.here[2 * warp_ + 1] = std::max(all.here[2 * warp_ + 1], complete_groups(live) + 1);
  // A time that cannot grow any more counts as known: what follows is not checked, but nothing is reported falsely.
  if (time_ < stamp::kMostTime) ++time_;
  return all;
}

void WarpClock::meet(std::uint32_t mask, std::uint32_t live) {
  if ((live & ~mask) == 0) return acquire(release(live));
  if (meetings_ == nullptr) meetings_ = std::make_unique<Meetings>();
  std::array<std::uint32_t, kLanes> all{};
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (((mask >> lane) & 1u) == 0) continue;
    for (unsigned other = 0; other < kLanes; ++other) all[other] = std::max(all[other], (*meetings_)[lane][other]);
    all[lane] = time_ + 1;
  }
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (((mask >> lane) & 1u) != 0) (*meetings_)[lane] = all;
  if (time_ < stamp::kMostTime) ++time_;
}

void WarpClock::copies_done(unsigned lane, std::uint32_t groups) {
  if (done_[lane].size() < groups) done_[lane].resize(groups, time_);
}

void WarpClock::fence(std::uint32_t live) {
  if (pending != nullptr) {
    acquire(*pending);
    pending.reset();
  }
  fenced = std::make_unique<Knowledge>(release(live));
}

void CtaClocks::start(std::uint32_t cta, std::size_t warps) {
  cta_ = cta;
  warps_.resize(warps);
  for (std::size_t i = 0; i < warps; ++i) warps_[i].start(static_cast<unsigned>(i));
  for (Barrier& barrier : barriers_) {
    barrier.arrived.clear();
    barrier.waiting.clear();
  }
}

Order CtaClocks::slow_order(Stamp earlier, unsigned warp, unsigned lane) const {
  const unsigned by = stamp::warp(earlier), of_lane = stamp::lane(earlier);
  const bool same_thread = by == warp && of_lane == lane && !stamp::several_lanes(earlier);
  const WarpClock& mine = warps_[warp];
  std::uint32_t time = stamp::time(earlier);
  if (stamp::is_copy(earlier)) {
    time = warps_[by].copy_time(of_lane, time - 1);
    if (time == 0) return Order::in_flight;
    if (time < mine.knowledge().here[2 * by]) return Order::ordered;
  }
  if (same_thread) return Order::ordered;
  const bool known = by == warp && !stamp::several_lanes(earlier) && mine.met(lane, of_lane, time);
  return known ? Order::ordered : Order::unordered;
}

void CtaClocks::arrive(const Warp& warp, unsigned barrier, bool waits) {
  barriers_[barrier].arrived.push_back(warps_[warp.index].release(warp.live));
  if (waits) barriers_[barrier].waiting.push_back(warp.index);
}

void CtaClocks::release(const Cta& cta, unsigned barrier) {
  Knowledge all;
  for (const Knowledge& arrived : barriers_[barrier].arrived) all.join(arrived);
  // A barrier of all threads does not wait for those that have ended: their end counts as their arrival.
  const bool of_all = cta.barriers[barrier].expected == 0;
  for (const Warp& warp : cta.warps)
    if (of_all && warp.live == 0) all.join(warps_[warp.index].release(0));
  for (const std::uint32_t warp : barriers_[barrier].waiting) warps_[warp].acquire(all);
  barriers_[barrier].arrived.clear();
  barriers_[barrier].waiting.clear();
}

}  // namespace librt::ptx
