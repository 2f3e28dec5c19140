// The disk store: bytes in, bytes out, best effort. It knows neither kernels nor CUDA.
#pragma once

#include <librt/cache.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache/directory.hpp"
#include "src/cache/entry.hpp"
#include "src/cache/key_lock.hpp"
#include "src/util/hash.hpp"
#include "src/util/log.hpp"

namespace librt::cache {

/// Says why the contents of an entry cannot be used, or nothing. Called after the bytes themselves were verified.
using Validate = std::function<std::optional<std::string>(const Entry&)>;

/// At most one of the first three is set; none is a plain miss.
struct EntryLookup {
  std::optional<Entry> entry{};
  std::optional<std::string> corrupt{};    // the entry was damaged or not what was asked for, and was removed: why
  std::optional<std::string> untrusted{};  // a file was there that may not be used, and was left alone: why
  util::Digest key{};                      // of the entry
};

using Finding = CacheFinding;

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

struct StoreOptions {
  bool writable = true;  // false: changes nothing on disk, not even the mark of use
  Trust trust = Trust::own;
  bool fsync = true;            // before an entry gets its name
  std::uint64_t max_bytes = 0;  // of all entries; 0 = no bound
  IoOps* io = &system_io();
};

/// What collect() may remove.
struct CollectOptions {
  std::uint64_t max_bytes = 0;                       // 0 = no bound
  std::optional<std::chrono::seconds> unused_for{};  // also every entry that was not used for so long
  bool dry_run = false;
  std::chrono::milliseconds lock_timeout{0};  // how long to wait for another collector
};

struct Collected : CacheCollected {
  bool done = false;      // false: another process was collecting, or the directory cannot be used
  std::string problem{};  // why not; or, though it is done, why an entry is still there or was not looked at
};

/// True if the entry is on disk.
struct PublishResult {
  bool kept = false;
  std::uint64_t evicted = 0;  // entries that this publish removed, to keep the bound or on a full disk

  explicit operator bool() const noexcept { return kept; }
};

/// What clear() and repair() did.
struct Removed {
  std::size_t entries = 0;
  std::string problem{};  // why a file that should go is still there or was not looked at, of the first such
};

/// Thread safe, and safe against any number of other processes on the same directory. Never throws for a disk problem.
class Store {
 public:
  /// Touches nothing on disk.
  Store(std::string root, util::Log log, Validate validate, StoreOptions options = {});

  const std::string& root() const noexcept { return root_; }
  Access access() const noexcept { return {options_.io, options_.trust}; }

  /// Reads, verifies, compares the whole key document. An unusable entry is removed (unless another process replaced it
  /// meanwhile), logged and reported. On success the file's mtime becomes now if it is older than an hour.
  /// What `expected` says of an entry counts as what the store's own validation says.
  EntryLookup find(const util::Digest& key, std::string_view key_document, const Validate& expected = {});

  /// As find(), for an entry that any compiler made of the program: `program_document` is its key document without the
  /// compiler. Of several the one of the newest compiler, none of `except`. Where the directory's index of programs
  /// knows none, a bounded number of its entries is looked at, once for all programs.
  EntryLookup find_program(std::string_view program_document, const Validate& expected = {},
                           const std::vector<util::Digest>& except = {});

  /// Temporary file, fsync, rename; then collect() if the bound is exceeded. Where the disk is full, collect() comes
  /// first, and writing is tried once more. Why an entry could not be written is logged, once per reason.
  PublishResult publish(const util::Digest& key, const Entry& entry);

  /// Waits for the process that makes this key, if there is one. Without a lock the caller goes on all the same.
  LockResult lock(const util::Digest& key, std::chrono::milliseconds timeout);

  /// Every file below v1/objects, by the rules of find(), changing nothing. Sorted by path. A directory that may not be
  /// used is listed itself, as untrusted, in place of what it holds.
  std::vector<StoredFile> scan() const;

  /// Where a visited file lies and what it was when it was read.
  struct VisitedFile {
    const Directory& shard;
    const std::string& name;
    const struct stat& seen;
  };
  /// As scan(), one file at a time. No place: it is a directory that may not be used, or not one of the store's.
  using Visitor = std::function<void(StoredFile, const VisitedFile*)>;
  void visit(const Visitor& visitor) const;
  /// As visit(), of the entries whose key begins with these hex digits: at least 2, and all 64 open one file.
  void visit(const Visitor& visitor, std::string_view key_prefix) const;
  /// As visit(), until the visitor returns false.
  using WhileVisitor = std::function<bool(StoredFile, const VisitedFile*)>;
  void visit_while(const WhileVisitor& visitor) const;

  /// Removes the least recently used entries, stale temporary files and unheld old locks, see src/cache/README.md.
  Collected collect(const CollectOptions& options);

  /// Removes what scan() found corrupt, unless it was replaced since.
  Removed repair();
  /// False if there is no such file, or it cannot be removed.
  bool remove(const util::Digest& key);

  /// Removes all entries (regular files with an entry's name) and temporary files and nothing else.
  Removed clear();

  /// Where an entry with this key lies.
  std::string path_of(const util::Digest& key) const;

 private:
  class Warnings;
  class Unmarked;

  EntryLookup find_file(const util::Digest& key, std::optional<std::string_view> key_document,
                        const Validate& expected);
  /// What finding comes to where something is in the way.
  EntryLookup not_found(const Problem& problem);
  EntryLookup find_newest(std::string_view program_document, const Validate& expected,
                          const std::vector<util::Digest>& except);
  bool visit_shard(const Directory& shard, const std::string& shard_name, const std::vector<std::string>& names,
                   const WhileVisitor& visitor) const;
  std::optional<Problem> publish_file(const util::Digest& key, const util::Digest& program,
                                      std::span<const std::byte> bytes);
  /// After a publish. Returns how many entries were removed.
  std::uint64_t keep_bound();
  /// Before an entry of so many bytes, on a full disk. Returns how many entries were removed.
  std::uint64_t make_room(std::uint64_t bytes);
  /// Reading and publishing meet the same problem: it is said once for both.
  void warn_once(const std::string& reason, const std::string& message) noexcept;

  std::string root_;
  util::Log log_;
  Validate validate_;
  StoreOptions options_;
  std::shared_ptr<Warnings> warnings_;
  std::shared_ptr<Unmarked> unmarked_;
  std::shared_ptr<std::atomic<bool>> over_bound_;  // the last keep_bound() found another collector at work
  std::shared_ptr<std::atomic<bool>> swept_;       // each process looks once for what killed ones left
};

/// Where the cache is: `option` if not empty, else XDG_CACHE_HOME/librt, HOME/.cache/librt.
using Location = CacheLocation;
/// Throws as require_absolute().
Location locate(const std::string& option);

/// Throws Error(invalid_argument) that says so of `name` if `path` is not absolute.
void require_absolute(std::string_view name, std::string_view path);

}  // namespace librt::cache
