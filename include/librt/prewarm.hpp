// Filling a cache ahead of time: what Runtime::prewarm takes and tells.
#pragma once

#include <librt/error.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace librt {

/// One program of a prewarm: a decode kernel, or the kernel that merges its splits.
struct PrewarmProgram {
  std::string kernel{};  ///< that of the spec, or the one that joins its splits
  Spec spec{};           ///< the first one that asks for it; others may share it
  Arch arch{};
};

struct PrewarmFailure {
  PrewarmProgram program{};
  ErrorCode code = ErrorCode::internal;
  std::string error{};   ///< one line
  std::string detail{};  ///< a compiler log, or empty
};

struct PrewarmOptions {
  unsigned threads = 0;  ///< that compile; 0 = one for each core
  /// Called for each program that is done, by one thread at a time; may call the Runtime. `done` counts up to `all`.
  /// What it throws, of any type, ends the prewarm and is passed on; what was stored by then stays.
  std::function<void(std::size_t done, std::size_t all, const PrewarmProgram& program)> progress{};
};

/// requested = compiled + already_there + failed.size().
struct PrewarmReport {
  std::size_t requested = 0;      ///< distinct programs: specs that share one, such as by their heads, count once
  std::size_t compiled = 0;       ///< and written to the cache
  std::size_t already_there = 0;  ///< in cache_dir or one of cache_read_only
  std::vector<PrewarmFailure> failed{};
  /// Of compiled and already_there: removed again before the end, since they need more than Options::cache_max_bytes
  /// together with what else is in the directory.
  std::size_t evicted = 0;
  std::uint64_t bytes = 0;    ///< about what compiled and already_there take on disk
  double seconds = 0;         ///< wall time
  std::vector<Arch> archs{};  ///< what was compiled for

  /// All that was asked for is in the cache now.
  bool complete() const noexcept { return failed.empty() && evicted == 0; }
};

}  // namespace librt
