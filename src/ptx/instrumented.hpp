// Labels and sanitizers in one pass over a launch.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "src/ptx/machine.hpp"
#include "src/ptx/sanitizer.hpp"
#include "src/ptx/taint.hpp"

namespace librt::ptx {

struct InstrumentedReport {
  LaunchStats stats;
  bool completed = true;  ///< false: the launch ended early, the last of `defects` says why
  std::vector<TaintFinding> taint;
  std::vector<SanitizerFinding> defects;
};

/// launch() under the instruments whose map is not null; each map must have been made for `memory`. With sanitizers
/// one host thread runs all CTAs.
/// Throws MachineError(launch) for a launch that cannot begin; what happens later is in the report.
InstrumentedReport launch_instrumented(const Module& module, Memory& memory, TaintMap* taint_map,
                                       SanitizerMap* sanitizer_map, std::string_view entry,
                                       std::span<const std::byte> params, const LaunchOptions& options,
                                       const TaintOptions& taint = {});

}  // namespace librt::ptx
