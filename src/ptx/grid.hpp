// Runs a grid under an instrument: prepares each CTA, and spreads the CTAs over host threads.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "src/ptx/barriers.hpp"
#include "src/ptx/machine.hpp"
#include "src/ptx/program.hpp"
#include "src/ptx/scheduler.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {

constexpr int kUnwritten = 0xff;  // as in Memory: a NaN in every floating type
constexpr std::uint64_t kShare = 20000;

/// Checks everything and throws MachineError(launch) naming what is wrong. The result refers to its arguments.
LaunchContext prepare_launch(const Module& module, Memory& memory, std::string_view entry,
                             std::span<const std::byte> params, const LaunchOptions& options);
/// What the registers of every warp hold when it starts, but for the special registers.
std::vector<std::byte> initial_registers(const LaunchContext& launch);
void write_special_registers(const Cta& cta, Warp& warp);

/// Runs CTAs one after another; each host thread has one.
template <class Instrument>
class CtaRunner {
 public:
  CtaRunner(const LaunchContext& launch, const std::vector<std::byte>& image, std::atomic<std::uint64_t>& executed,
            Instrument& instrument)
      : launch_(launch), image_(image), executed_(executed), instrument_(instrument) {
    const Dim3& block = launch.options->block;
    threads_ = block.x * block.y * block.z;
    cta_.launch = &launch;
    cta_.shared.resize(launch.shared_bytes);
    cta_.warps = std::vector<Warp>((threads_ + kLanes - 1) / kLanes);
    for (std::size_t i = 0; i < cta_.warps.size(); ++i) {
      Warp& warp = cta_.warps[i];
      warp.cta = &cta_;
      warp.kernel = launch.kernel;
      warp.index = static_cast<std::uint32_t>(i);
      warp.register_storage.reset(static_cast<std::byte*>(::operator new[](image.size(), std::align_val_t{64})));
      warp.registers = warp.register_storage.get();
      warp.local.resize(std::size_t{launch.kernel->local_bytes} * kLanes);
    }
  }

  void run(std::uint64_t linear) {
    prepare(linear);
    instrument_.start_cta(cta_);
    Scheduler<Instrument> scheduler(cta_, instrument_);
    while (cta_.live != 0) {
      const std::uint64_t done = scheduler.round(kShare);
      if (executed_.fetch_add(done) + done > launch_.options->max_warp_instructions)
        throw MachineError(Fault::instruction_limit,
                           fmt::format("kernel '{}': more than {} warp instructions were executed",
                                       launch_.kernel->name, launch_.options->max_warp_instructions));
      if (done == 0) report_deadlock(cta_);
    }
    instrument_.end_cta(cta_);
  }

 private:
  void prepare(std::uint64_t linear) {
    const Dim3& grid = launch_.options->grid;
    cta_.linear_index = linear;
    cta_.index = {static_cast<std::uint32_t>(linear % grid.x), static_cast<std::uint32_t>(linear / grid.x % grid.y),
                  static_cast<std::uint32_t>(linear / grid.x / grid.y)};
    cta_.live = threads_;
    cta_.barriers.fill(CtaBarrier{});
    std::fill(cta_.shared.begin(), cta_.shared.end(), static_cast<std::byte>(kUnwritten));
    for (Warp& warp : cta_.warps) {
      const std::uint32_t lanes = std::min(kLanes, threads_ - warp.index * kLanes);
      warp.live = lanes == kLanes ? kFullWarp : (1u << lanes) - 1;
      warp.waiting = warp.blocked = warp.deferred = 0;
      warp.executed = 0;
      warp.pc.fill(0);
      warp.copies.clear();
      warp.committed.fill(0);
      warp.random_state = launch_.options->seed ^ (linear * 0xd1342543de82ef95u) ^ (std::uint64_t{warp.index} << 32);
      std::fill(warp.local.begin(), warp.local.end(), static_cast<std::byte>(kUnwritten));
      std::memcpy(warp.registers, image_.data(), image_.size());
      write_special_registers(cta_, warp);
    }
  }

  const LaunchContext& launch_;
  const std::vector<std::byte>& image_;
  std::atomic<std::uint64_t>& executed_;
  Instrument& instrument_;
  std::uint32_t threads_ = 0;
  Cta cta_;
};

/// CTAs are handed out in order; of several errors the one of the lowest CTA is reported, as with one thread.
/// @tparam MakeInstrument makes what watches the CTAs of one host thread
template <class MakeInstrument>
class GridRunner {
 public:
  GridRunner(const LaunchContext& launch, MakeInstrument make_instrument)
      : launch_(launch), make_instrument_(std::move(make_instrument)), image_(initial_registers(launch)) {
    const Dim3& grid = launch.options->grid;
    ctas_ = std::uint64_t{grid.x} * grid.y * grid.z;
  }

  LaunchStats run() {
    // CTAs that can see each other's writes run in order, so that atomics give the same bits for any number of threads.
    const std::uint64_t threads =
        launch_.kernel->orders_ctas ? 1 : std::min<std::uint64_t>(std::max(launch_.options->threads, 1u), ctas_);
    {
      std::vector<std::jthread> helpers;
      try {
        while (helpers.size() + 1 < threads) helpers.emplace_back([this] { work(); });
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): with fewer threads, it only takes longer
      }
      work();
    }
    if (error_) std::rethrow_exception(error_);
    return stats();
  }
  /// Of what was executed until now.
  LaunchStats stats() const { return {executed_, ctas_}; }

 private:
  void work() {
    std::uint64_t linear = 0;
    try {
      auto instrument = make_instrument_();
      CtaRunner runner(launch_, image_, executed_, instrument);
      while (!failed_.load() && (linear = next_.fetch_add(1)) < ctas_) runner.run(linear);
    } catch (...) {
      failed_ = true;
      const std::lock_guard lock(mutex_);
      if (!error_ || linear < error_at_) {
        error_ = std::current_exception();
        error_at_ = linear;
      }
    }
  }

  const LaunchContext& launch_;
  MakeInstrument make_instrument_;
  std::uint64_t ctas_ = 0;
  std::vector<std::byte> image_;
  std::atomic<std::uint64_t> next_{0}, executed_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
  std::uint64_t error_at_ = 0;
};

}  // namespace librt::ptx
