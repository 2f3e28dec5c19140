// Looking at a disk cache: what `librt cache` prints. None of this needs NVRTC or a device.
//
// Each function takes the Options of the Runtime whose cache it is about, and sees the directories, whom they trust,
// the mode and the bound as that Runtime does; without any, those of the environment. What looks, looks at cache_dir
// and then at each of cache_read_only, whatever the mode; what changes, changes cache_dir alone, and in mode rw alone:
// it throws Error(invalid_argument) in another. All throw Error(invalid_argument) for a directory that is not absolute.
#pragma once

#include <librt/artifact.hpp>
#include <librt/export.hpp>
#include <librt/options.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace librt {

/// Resources that the assembler fixed, read from the cubin's ELF.
struct KernelResources {
  int registers = 0;    ///< a thread
  int stack_bytes = 0;  ///< a thread; 0 = nothing in local memory
  int static_shared_bytes = 0;
  int max_threads = 0;  ///< launch bounds; 0 = none given
  int code_bytes = 0;
  std::string toolchain{};  ///< as ptxas signed it, e.g. "Cuda compilation tools, release 13.0, V13.0.88"
};

/// One valid entry.
struct CacheEntry {
  std::string key{};  ///< 64 hex digits
  std::string path{};
  std::string kernel{};
  std::string spec{};    ///< canonical JSON
  std::string target{};  ///< "sm_90a", "compute_80"
  std::string nvrtc{};   ///< version, e.g. "13.0"
  std::uint64_t file_bytes = 0;
  std::int64_t created = 0;    ///< seconds since 1970
  std::int64_t last_used = 0;  ///< seconds since 1970, to the hour
  double compile_ms = 0;
};

/// Everything that an entry holds.
struct CacheEntryDetail {
  CacheEntry entry{};
  std::string key_document{};  ///< the JSON that the key is the hash of
  std::string source{};        ///< the stub
  std::string log{};           ///< what ptxas reported
  std::uint64_t cubin_bytes = 0;
  std::uint64_t ptx_bytes = 0;
  std::string entry_symbol{};
  int block_threads = 0;
  int shared_bytes = 0;                        ///< dynamic, a block
  std::optional<KernelResources> resources{};  ///< of the cubin; none in a compute_XX entry
};

enum class CacheFinding { ok, corrupt, untrusted };

LIBRT_API std::string_view to_string(CacheFinding finding) noexcept;

struct CacheVerdict {
  std::string path{};
  CacheFinding finding = CacheFinding::ok;
  std::string reason{};  ///< empty when ok
};

/// What a cache was asked and did. Of a Runtime: since it was made; in a forked child, since the fork.
struct RuntimeStats {
  std::uint64_t lookups = 0;
  std::uint64_t memory_hits = 0;
  std::uint64_t disk_hits = 0;
  std::uint64_t compiled = 0;
  std::uint64_t failed = 0;
  std::uint64_t corrupt = 0;         ///< entries that were on disk and could not be used
  std::uint64_t publish_failed = 0;  ///< compiled, used, but not written to disk
  std::uint64_t read_only_hits = 0;  ///< of the disk hits, those of Options::cache_read_only
  std::uint64_t refused = 0;         ///< CacheMode::only, and not there
  std::uint64_t untrusted = 0;       ///< entries that were on disk and may not be used
  std::uint64_t lock_waits = 0;      ///< another process was compiling the same kernel
  std::uint64_t lock_wait_ms = 0;
  std::uint64_t lock_degraded = 0;  ///< compiled without a lock: a file system without any, or a timeout
  std::uint64_t compile_ms = 0;
  std::uint64_t evicted = 0;  ///< entries removed to keep Options::cache_max_bytes
};

/// The same of all processes that used a directory, and what is in it.
struct CacheStats : RuntimeStats {
  std::int64_t since = 0;     ///< seconds since 1970; 0 = nothing was counted yet
  std::uint64_t entries = 0;  ///< now
  std::uint64_t bytes = 0;    ///< of them
};

/// One field of a key that differs from that of the nearest entry.
struct CacheDifference {
  std::string field{};   ///< "target", "spec.head_dim", "headers[device/mask.cuh]", "compiler.build_id"
  std::string wanted{};  ///< "none" where there is no such field
  std::string found{};
};

struct CacheExplanation {
  std::string key{};  ///< 64 hex digits: of the entry that is there, else of the key document
  std::string key_document{};
  bool cached = false;
  std::string nearest_key{};  ///< of the most similar entry; empty if cached, or if there is none
  std::string nearest_path{};
  std::vector<CacheDifference> differences{};
};

struct CacheCollectOptions {
  std::optional<std::uint64_t> max_bytes{};          ///< 0 = no bound; none given: Options::cache_max_bytes
  std::optional<std::int64_t> unused_for_seconds{};  ///< also every entry that was not used for so long
  bool dry_run = false;                              ///< only say what would be removed; in any mode
};

struct CacheCollected {
  std::uint64_t entries = 0;  ///< before
  std::uint64_t bytes = 0;
  std::uint64_t removed_entries = 0;
  std::uint64_t removed_bytes = 0;
  std::uint64_t removed_temporaries = 0;  ///< left by processes that were killed over an hour ago
  std::uint64_t removed_locks = 0;        ///< files that nobody held, over a week old
  std::vector<std::string> removed_keys{};
};

/// Where the cache is and why.
struct CacheLocation {
  std::string path{};    ///< empty: memory only
  std::string reason{};  ///< "LIBRT_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "option", or why there is none
};

/// Of Options::cache_dir. The reason is "LIBRT_CACHE_DIR" where that variable names the directory, too.
LIBRT_API CacheLocation cache_location(const Options& options = Options::from_env());
/// All valid entries, most recently used first; damaged ones are left out. Looking does not count as use.
LIBRT_API std::vector<CacheEntry> cache_list(const Options& options = Options::from_env());
/// `key` may be any unambiguous prefix of at least 4 hex digits; the first directory that has it counts. Throws
/// Error(invalid_argument) if none or several match.
LIBRT_API CacheEntryDetail cache_show(std::string_view key, const Options& options = Options::from_env());
/// The bytes of one entry, as compile() would return them. `key` as for cache_show().
LIBRT_API Artifact cache_extract(std::string_view key, const Options& options = Options::from_env());
/// Reads every file of the cache and says of each whether it would be used.
LIBRT_API std::vector<CacheVerdict> cache_verify(const Options& options = Options::from_env());
/// Removes the files of cache_dir that cache_verify() finds corrupt, unless they were replaced meanwhile. Returns how
/// many. Throws Error(io) if one cannot be removed.
LIBRT_API std::size_t cache_repair(const Options& options = Options::from_env());
/// Of cache_dir.
LIBRT_API CacheStats cache_stats(const Options& options = Options::from_env());
/// Removes what is above the bound, least recently used first, and what killed processes left. Throws Error(io) if
/// another process is collecting for seconds on end, the directory cannot be used, or something cannot be removed.
LIBRT_API CacheCollected cache_collect(const CacheCollectOptions& what = {},
                                       const Options& options = Options::from_env());
/// Removes one entry of cache_dir; `key` as for cache_show(), or all 64 digits of a damaged one. Returns its path.
/// Throws Error(io) if it cannot be removed.
LIBRT_API std::string cache_remove(std::string_view key, const Options& options = Options::from_env());
/// Removes every entry of cache_dir, damaged ones included, and nothing else. Returns how many. Processes that use one
/// keep their bytes. Throws Error(io) if one cannot be removed; the others are gone then.
LIBRT_API std::size_t cache_clear(const Options& options = Options::from_env());

}  // namespace librt
