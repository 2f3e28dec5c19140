// What a cache was asked and what it did, in this process and, summed on disk, in all that used a directory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "src/cache/directory.hpp"
#include "src/util/per_process.hpp"

namespace librt::cache {

enum class Counter {
  memory_hits,
  disk_hits,
  read_only_hits,  // of the disk hits, those of read-only directories
  compiled,
  failed,
  refused,  // mode only: not there
  corrupt,
  untrusted,
  publish_failed,
  lock_waits,
  lock_wait_ms,
  lock_degraded,
  compile_ms,
  evicted,
  kCount,
};

/// One number for each Counter.
class Counts {
 public:
  std::uint64_t& operator[](Counter counter) { return values_[static_cast<std::size_t>(counter)]; }
  std::uint64_t operator[](Counter counter) const { return values_[static_cast<std::size_t>(counter)]; }
  /// Every lookup ends as exactly one of them.
  std::uint64_t lookups() const;
  bool any() const;

 private:
  std::array<std::uint64_t, static_cast<std::size_t>(Counter::kCount)> values_{};
};

/// The name of a counter in JSON.
std::string_view name_of(Counter counter);

/// Counts of one cache. Thread safe; counting is one relaxed addition. A forked child begins at zero.
/// Not flushed counts are written when the object is destroyed, and when the process exits before that.
class Statistics {
 public:
  /// @param root where to add up; empty = nowhere.
  static std::shared_ptr<Statistics> make(std::string root, Access access);
  ~Statistics();
  Statistics(const Statistics&) = delete;
  Statistics& operator=(const Statistics&) = delete;

  void add(Counter counter, std::uint64_t number = 1) noexcept;
  Counts counts() noexcept;

  /// Adds what was not added yet to the directory's. Best effort, never throws.
  void flush() noexcept;

 private:
  Statistics(std::string root, Access access);
  void start_over_in_child() noexcept;

  const std::string root_;
  const Access access_;
  std::atomic<unsigned> generation_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Counter::kCount)> counters_{};
  util::PerProcess<Counts> flushed_;
};

/// Of a directory, over all processes.
struct Totals {
  Counts counts{};
  std::int64_t since = 0;  // seconds since 1970; 0 = nothing was counted yet
};
Totals read_totals(const std::string& root, const Access& access);

}  // namespace librt::cache
