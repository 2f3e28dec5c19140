// The cache's own words and the public ones for the same things.
#pragma once

#include <librt/options.hpp>
#include <librt/runtime.hpp>

#include <string>
#include <string_view>

#include "src/cache/directory.hpp"
#include "src/cache/statistics.hpp"

namespace librt::api {

/// What keeps this from being a key or the beginning of one; empty if nothing does.
std::string key_problem(std::string_view key);

inline RuntimeStats runtime_stats(const cache::Counts& counts) {
  using cache::Counter;
  return {.lookups = counts.lookups(),
          .memory_hits = counts[Counter::memory_hits],
          .disk_hits = counts[Counter::disk_hits],
          .compiled = counts[Counter::compiled],
          .failed = counts[Counter::failed],
          .corrupt = counts[Counter::corrupt],
          .publish_failed = counts[Counter::publish_failed],
          .read_only_hits = counts[Counter::read_only_hits],
          .refused = counts[Counter::refused],
          .untrusted = counts[Counter::untrusted],
          .lock_waits = counts[Counter::lock_waits],
          .lock_wait_ms = counts[Counter::lock_wait_ms],
          .lock_degraded = counts[Counter::lock_degraded],
          .compile_ms = counts[Counter::compile_ms],
          .evicted = counts[Counter::evicted]};
}

}  // namespace librt::api
