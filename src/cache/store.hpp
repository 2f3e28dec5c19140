// The disk store: bytes in, bytes out, best effort. It knows neither kernels nor CUDA.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache/entry.hpp"
#include "src/util/hash.hpp"
#include "src/util/log.hpp"

namespace librt::cache {

/// Says why the contents of an entry cannot be used, or nothing. Called after the bytes themselves were verified.
using Validate = std::function<std::optional<std::string>(const Entry&)>;

/// At most one of them is set; none is a plain miss.
struct Found {
  std::optional<Entry> entry{};
  std::optional<std::string> corrupt{};    // the entry was damaged or not what was asked for, and was removed: why
  std::optional<std::string> untrusted{};  // a file was there that may not be used, and was left alone: why
};

enum class Finding { ok, corrupt, untrusted };

/// One file of the store, as scan() saw it.
struct StoredFile {
  std::string path;
  std::string key;  // 64 hex digits; empty when the file's name is not that of an entry
  Finding finding = Finding::ok;
  std::string reason;
  std::optional<Entry> entry;  // when finding is ok
  std::uint64_t bytes = 0;
  std::int64_t last_used = 0;  // mtime, seconds since 1970
};

/// Thread safe, and safe against any number of other processes on the same directory. Never throws for a disk problem.
class Store {
 public:
  /// Touches nothing on disk.
  Store(std::string root, util::Log log, Validate validate);

  const std::string& root() const noexcept { return root_; }

  /// Reads, verifies, compares the whole key document. An unusable entry is removed (unless another process replaced it
  /// meanwhile), logged and reported. On success the file's mtime becomes now if it is older than an hour.
  Found find(const util::Digest& key, std::string_view key_document);

  /// Temporary file, fsync, rename. False if the entry could not be written; the reason is logged once per reason.
  bool publish(const util::Digest& key, const Entry& entry);

  /// Every file below v1/objects, by the rules of find(), changing nothing. Sorted by path. A directory that may not be
  /// used is listed itself, as untrusted, in place of what it holds.
  std::vector<StoredFile> scan() const;

  /// Removes all entries (regular files with an entry's name) and temporary files and nothing else. Returns the number
  /// of entries.
  std::size_t clear();

  /// Where an entry with this key lies.
  std::string path_of(const util::Digest& key) const;

 private:
  class Warnings;

  Found find_file(const util::Digest& key, std::string_view key_document);
  /// Reading and publishing meet the same problem: it is said once for both.
  void warn_once(const std::string& reason, const std::string& message) noexcept;

  std::string root_;
  util::Log log_;
  Validate validate_;
  std::shared_ptr<Warnings> warnings_;
};

/// Where the cache is: `option` if not empty, else LIBRT_CACHE_DIR, XDG_CACHE_HOME/librt, HOME/.cache/librt.
struct Location {
  std::string path;    // absolute; empty = memory only
  std::string reason;  // "option", "LIBRT_CACHE_DIR", "XDG_CACHE_HOME", "HOME", or why there is none
};
Location locate(std::string_view option);

}  // namespace librt::cache
