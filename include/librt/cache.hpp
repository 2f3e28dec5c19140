// Looking at a disk cache: what `librt cache` prints. None of this needs NVRTC or a device.
#pragma once

#include <librt/export.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace librt {

/// Resources that the assembler fixed, read from the cubin's ELF.
struct KernelResources {
  int registers = 0;           ///< a thread
  int stack_bytes = 0;         ///< a thread; 0 = nothing in local memory
  int static_shared_bytes = 0;
  int max_threads = 0;         ///< launch bounds; 0 = none given
  int code_bytes = 0;
  std::string toolchain{};     ///< as ptxas signed it, e.g. "Cuda compilation tools, release 13.0, V13.0.88"
};

/// One valid entry.
struct CacheEntry {
  std::string key{};           ///< 64 hex digits
  std::string path{};
  std::string kernel{};
  std::string spec{};          ///< canonical JSON
  std::string target{};        ///< "sm_90a", "compute_80"
  std::string nvrtc{};         ///< version, e.g. "13.0"
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
  int shared_bytes = 0;        ///< dynamic, a block
  std::optional<KernelResources> resources{};  ///< of the cubin; none in a compute_XX entry
};

enum class CacheFinding { ok, corrupt, untrusted };

LIBRT_API std::string_view to_string(CacheFinding finding) noexcept;

struct CacheVerdict {
  std::string path{};
  CacheFinding finding = CacheFinding::ok;
  std::string reason{};        ///< empty when ok
};

/// Where the cache is and why.
struct CacheLocation {
  std::string path{};          ///< empty: memory only
  std::string reason{};        ///< "LIBRT_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "option", or why there is none
};

/// `cache_dir` empty = found as Options says.
LIBRT_API CacheLocation cache_location(std::string_view cache_dir = {});
/// All valid entries, most recently used first; damaged ones are left out. Looking does not count as use.
LIBRT_API std::vector<CacheEntry> cache_list(std::string_view cache_dir = {});
/// `key` may be any unambiguous prefix of at least 4 hex digits. Throws Error(invalid_argument) if none or several match.
LIBRT_API CacheEntryDetail cache_show(std::string_view key, std::string_view cache_dir = {});
/// Reads every file of the cache and says of each whether it would be used.
LIBRT_API std::vector<CacheVerdict> cache_verify(std::string_view cache_dir = {});
/// Removes every entry, damaged ones included, and nothing else. Returns how many. Processes that use one keep their bytes.
LIBRT_API std::size_t cache_clear(std::string_view cache_dir = {});

}  // namespace librt
