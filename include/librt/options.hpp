// How a Runtime behaves. Every member has a default; Options::from_env() fills them from LIBRT_* once.
#pragma once

#include <librt/export.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace librt {

enum class LogLevel { debug, info, warn, error };

/// rw: read and publish; off: memory only, nothing is read from or written to disk.
enum class CacheMode { rw, off };

/// A textual edit of one kernel source, applied in memory after loading: for mutation tests and experiments.
/// `find` must occur exactly once in the file. An edited source has its own key, as any other text does.
struct SourceEdit {
  std::string file{};     ///< name as the kernels include it, e.g. "device/mask.cuh"
  std::string find{};
  std::string replace{};
};

struct LIBRT_API Options {
  /// Directory of the disk cache; empty = $XDG_CACHE_HOME/librt, else $HOME/.cache/librt; if neither is set, the cache
  /// is kept in memory only and a warning says so. Environment: LIBRT_CACHE_DIR.
  std::string cache_dir{};
  CacheMode cache_mode = CacheMode::rw;
  /// Directory of the kernel sources; empty = the installed data directory if it exists, else the copy built into the
  /// library. Environment: LIBRT_KERNELS_DIR.
  std::string kernels_dir{};
  /// "cuda:N", "virtual" (= virtual:sm_80) or "virtual:sm_XX". Environment: LIBRT_DEVICE.
  std::string device = "cuda:0";
  /// Path of libnvrtc.so; empty = searched for. Environment: LIBRT_NVRTC.
  std::string nvrtc{};
  /// Host threads that the virtual device spreads the blocks over; 0 = one for each core. The bits do not depend on it.
  unsigned virtual_threads = 0;
  std::vector<SourceEdit> source_edits{};
  /// Receives what librt has to say, from any thread. Empty = spdlog to stderr, at `log_level` and above.
  std::function<void(LogLevel, std::string_view)> log{};
  /// Environment: LIBRT_LOG=debug|info|warn|error.
  LogLevel log_level = LogLevel::warn;

  /// Reads the environment now. Throws Error(invalid_argument) for a value that is not allowed.
  static Options from_env();
};

}  // namespace librt
