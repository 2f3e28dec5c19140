// What the parts of `librt bench` share.
#pragma once

#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tools/librt/progress_bar.hpp"

namespace librt::tool {

struct Metric {
  std::string name;
  double value = 0;
  std::string unit;
  double target = 0;
  bool greater_is_better = false;
  bool has_target = true;

  bool met() const { return !has_target || (greater_is_better ? value >= target : value <= target); }
};

// Each part tells `bar` as often as its kSteps say, before what it does next.

/// Compile path and caches.
inline constexpr std::size_t kCacheSteps = 9;
std::vector<Metric> measure_cache(ProgressBar& bar);
/// The PTX machine on one core.
inline constexpr std::size_t kVirtualSteps = 6;
std::vector<Metric> measure_virtual_machine(ProgressBar& bar);
/// The kernels on a GPU, beside a plain device copy. Empty where there is no GPU.
inline constexpr std::size_t kGpuSteps = 3;
std::vector<Metric> measure_gpu(ProgressBar& bar);

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// The smallest of `repeats` results of `measure`: what is left when the machine does nothing else.
template <class Measure>
double best_of(int repeats, const Measure& measure) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) best = std::min(best, measure());
  return best;
}

}  // namespace librt::tool
