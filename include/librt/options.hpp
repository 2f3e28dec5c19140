// How a Runtime behaves, and where the functions of cache.hpp look.
//
// The environment: Options::from_env() is the one thing that takes settings from LIBRT_* variables, all of them, when
// it is called; elsewhere they are looked at only to name one in a message. Options made by hand take none: what they
// leave out has the default that stands here. A program that wants both begins with from_env() and sets what it knows
// better. HOME and XDG_CACHE_HOME only say where the default directory is.
#pragma once

#include <librt/export.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace librt {

enum class LogLevel { debug, info, warn, error };

/// What the disk cache may be used for.
enum class CacheMode {
  rw,   ///< read and publish
  ro,   ///< read; what is compiled is kept in memory only, and nothing on disk is changed, not even an entry's last use
  off,  ///< memory only: nothing is read from or written to disk
  /// As ro, and nothing is compiled: an entry of the same program serves whatever NVRTC made it, none is looked for
  /// here, and what no directory has throws Error(not_cached).
  only,
};

/// Whose cache directories and files are used. Who can write them chooses the code that runs: see SECURITY.md.
enum class CacheTrust {
  own,     ///< the effective user's and root's, writable by nobody else
  shared,  ///< anybody's that not everybody can write: for a directory that an administrator made for a group
};

/// A textual edit of one kernel source, applied in memory after loading: for mutation tests and experiments.
/// `find` must occur exactly once in the file. An edited source has its own key, as any other text does.
struct SourceEdit {
  std::string file{};  ///< name as the kernels include it, e.g. "device/mask.cuh"
  std::string find{};
  std::string replace{};
};

struct LIBRT_API Options {
  /// Directory of the disk cache, an absolute path: `~` is a word of shells, and a working directory may change.
  /// Empty = $XDG_CACHE_HOME/librt, else $HOME/.cache/librt; if neither is set, or it belongs to another user than the
  /// effective one and root (HOME under sudo), the cache is kept in memory only and a warning says so. What uses these
  /// Options throws Error(invalid_argument) for a path that is not absolute. Environment: LIBRT_CACHE_DIR.
  std::string cache_dir{};
  /// Environment: LIBRT_CACHE_MODE=rw|ro|off|only.
  CacheMode cache_mode = CacheMode::rw;
  /// Directories, absolute paths, that are asked, in this order, for what cache_dir does not have, and never changed: a
  /// layer of a container image, a shared mount. Environment: LIBRT_CACHE_RO=dir:dir:...
  std::vector<std::string> cache_read_only{};
  /// Bytes that the entries in cache_dir may have together; 0 = no bound. The least recently used ones go first.
  /// Environment: LIBRT_CACHE_MAX_SIZE, a number with or without K, M, G (1024, ...).
  std::uint64_t cache_max_bytes = std::uint64_t{256} << 20;
  /// Environment: LIBRT_CACHE_TRUST=private|shared.
  CacheTrust cache_trust = CacheTrust::own;
  /// Entries reach the disk before they get their names, so that a crash of the machine leaves none that is empty (it
  /// would be found out and removed, at the cost of a compile). Environment: LIBRT_CACHE_FSYNC=1|0.
  bool cache_fsync = true;
  /// How long to wait for another process that compiles the same kernel, in milliseconds; then it is compiled here too.
  /// Environment: LIBRT_LOCK_TIMEOUT_MS.
  unsigned lock_timeout_ms = 60000;
  /// Directory of the kernel sources; empty = the copy built into the library, whatever is installed. One whose
  /// *.h file is not the text that librt was compiled with is refused, since host and kernel would
  /// disagree, and so is one that somebody else could have written (see SECURITY.md). Environment: LIBRT_KERNELS_DIR.
  std::string kernels_dir{};
  /// "cuda:N", "virtual" (= virtual:sm_80) or "virtual:sm_XX". Environment: LIBRT_DEVICE.
  std::string device = "cuda:0";
  /// Path of libnvrtc.so; empty = searched for. Environment: LIBRT_NVRTC.
  std::string nvrtc{};
  /// Host threads that the virtual device spreads the blocks over; 0 = one for each core. The bits do not depend on it.
  unsigned virtual_threads = 0;
  /// Instructions of a warp that one launch on the virtual device may execute before it is stopped with
  /// Error(device_fault): a kernel that never ends would hold the device for ever. 0 = no bound. The default is minutes
  /// of work. Environment: LIBRT_VIRTUAL_INSTRUCTION_LIMIT, a number with or without K, M, G (1024, ...).
  std::uint64_t virtual_instruction_limit = std::uint64_t{16} << 30;
  std::vector<SourceEdit> source_edits{};
  /// File to which each distinct spec and architecture that get() and compile() are asked for is added, as a manifest
  /// (see manifest.hpp) for `librt cache prewarm`; empty = none. What the manifest holds already is kept, and several
  /// processes may share one; a file that is no manifest is left alone, with a warning. No problem with it fails a
  /// request, and none waits for another process for more than a tenth of a second: what is not written then goes along
  /// with the next new request, or with the end of the Runtime. Environment: LIBRT_RECORD.
  std::string record{};
  /// Receives what librt has to say, from any thread, also from several at once. Empty = spdlog to stderr, at
  /// `log_level` and above. It is called without any lock and may call the Runtime, get() included. Asked in the middle
  /// of a get() or compile() for the very kernel that its thread is making, or for one that another thread makes and
  /// that waits for this one, the call throws Error(invalid_argument) that names the spec, instead of waiting for ever.
  /// What it throws is swallowed: a log line never fails a request.
  std::function<void(LogLevel, std::string_view)> log{};
  /// Environment: LIBRT_LOG=debug|info|warn|error.
  LogLevel log_level = LogLevel::warn;

  /// The defaults, and in their place what LIBRT_* variables say now; an empty one counts as unset, and a set-user-id
  /// program has none. Throws Error(invalid_argument) that names the variable for a value that is not allowed.
  static Options from_env();
};

/// "1048576", "1024K", "1M", "2G": bytes. Nothing if it is none of these.
LIBRT_API std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;

}  // namespace librt
