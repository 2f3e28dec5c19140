// What a store removes: the least recently used entries above its bound, and what killed processes left behind.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "src/cache/directory.hpp"
#include "src/cache/key_lock.hpp"
#include "src/cache/programs.hpp"
#include "src/cache/store.hpp"

namespace librt::cache {
namespace {

using std::chrono::milliseconds;

// Trimming to less than the bound makes the next trim wait.
constexpr std::uint64_t kTrimToPercent = 90;
// An entry so young is likely to be loaded by the other processes that start now.
constexpr std::int64_t kYoungSeconds = 600;
constexpr std::int64_t kStaleTemporarySeconds = 3600;
constexpr std::int64_t kStaleLockSeconds = 7 * 86400;
// Another collector is done in less, unless it was stopped.
constexpr milliseconds kWaitForCollector{2000};

struct Candidate {
  std::size_t shard;
  std::string name;
  std::string key;
  struct stat seen;
  std::int64_t last_used;
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(seen.st_size); }
};

struct Inventory {
  std::vector<Directory> shards;
  std::vector<Candidate> entries;
  std::uint64_t bytes = 0;
  std::string problem;  // of the first directory that may not be used, so that its entries are not among these
};

/// Regular files with an entry's name; their contents do not matter here.
Inventory take_inventory(const std::string& root, const Access& access) {
  Inventory inventory;
  DirectoryResult objects = open_objects(root, IfAbsent::report, access);
  note_refusal(objects, inventory.problem);
  const auto* directory = std::get_if<Directory>(&objects);
  if (directory == nullptr) return inventory;
  for (const std::string& shard_name : list(*directory)) {
    if (!is_shard_name(shard_name)) continue;
    DirectoryResult opened = open_below(*directory, shard_name, IfAbsent::report);
    note_refusal(opened, inventory.problem);
    auto* shard = std::get_if<Directory>(&opened);
    if (shard == nullptr) continue;
    const std::size_t before = inventory.entries.size();
    for (std::string& name : list(*shard)) {
      const auto key = key_of(shard_name, name);
      struct stat status {};
      if (!key || ::fstatat(shard->fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
      if (!S_ISREG(status.st_mode)) continue;
      inventory.bytes += static_cast<std::uint64_t>(status.st_size);
      inventory.entries.push_back(
          {inventory.shards.size(), std::move(name), util::to_hex(*key), status, status.st_mtim.tv_sec});
    }
    if (inventory.entries.size() > before) inventory.shards.push_back(std::move(*shard));
  }
  return inventory;
}

/// What time the file system thinks it is: a file server's clock may differ from this machine's.
std::int64_t file_system_now(const Directory& temporaries) {
  IoOps& io = temporaries.io();
  const std::string name = util::temporary_name();
  const util::UniqueFd fd = create_file(temporaries, name);
  if (!fd) return io.now();
  struct stat status {};
  const bool known = io.fstat(fd.get(), &status) == 0;
  io.unlink(temporaries.fd.get(), name.c_str());
  return known ? status.st_mtim.tv_sec : io.now();
}

std::uint64_t sweep_temporaries(const Directory& temporaries, std::int64_t now, bool dry_run) {
  std::uint64_t removed = 0;
  for (const std::string& name : list(temporaries)) {
    struct stat status {};
    if (!is_temporary_name(name) || ::fstatat(temporaries.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        now - status.st_mtim.tv_sec <= kStaleTemporarySeconds) {
      continue;
    }
    if (dry_run || remove_if_unchanged(temporaries, name, status)) ++removed;
  }
  return removed;
}

std::uint64_t sweep_locks(const Directory& locks, std::int64_t now, bool dry_run) {
  std::uint64_t removed = 0;
  for (const std::string& name : list(locks)) {
    struct stat status {};
    if (!is_lock_name(name) || ::fstatat(locks.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
        now - status.st_mtim.tv_sec <= kStaleLockSeconds) {
      continue;
    }
    // Whoever opened the file before it is removed sees, once it holds the lock, that the name is gone.
    const LockResult held = lock_file(locks, name, milliseconds{0});
    if (held.lock && (dry_run || remove_if_unchanged(locks, name, status))) ++removed;
  }
  return removed;
}

/// A clock that once ran ahead must not keep an entry for ever.
void clamp_future(Inventory& inventory, std::int64_t now, bool dry_run) {
  for (Candidate& entry : inventory.entries) {
    if (entry.last_used <= now) continue;
    entry.last_used = now;
    if (dry_run) continue;
    const timespec times[2] = {{now, 0}, {now, 0}};
    const Directory& shard = inventory.shards[entry.shard];
    if (::utimensat(shard.fd.get(), entry.name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0) entry.seen.st_mtim = times[1];
  }
}

class Trim {
 public:
  Trim(const Inventory& inventory, const CollectOptions& options, std::int64_t now, Collected& result)
      : inventory_(inventory), options_(options), now_(now), left_(inventory.bytes), result_(result) {
    for (const Candidate& entry : inventory.entries) order_.push_back(&entry);
    std::sort(order_.begin(), order_.end(), [](const Candidate* a, const Candidate* b) {
      return std::tie(a->last_used, a->seen.st_mtim.tv_nsec, a->key) <
             std::tie(b->last_used, b->seen.st_mtim.tv_nsec, b->key);
    });
  }

  void run() {
    if (options_.unused_for) {
      const std::int64_t limit = now_ - options_.unused_for->count();
      remove_while([&](const Candidate& entry) { return entry.last_used <= limit; });
    }
    if (options_.max_bytes == 0 || left_ <= options_.max_bytes) return;
    const std::uint64_t target = options_.max_bytes / 100 * kTrimToPercent + options_.max_bytes % 100;
    remove_while([&](const Candidate& entry) { return left_ > target && now_ - entry.last_used >= kYoungSeconds; });
    // The bound is a promise, the ten minutes are a courtesy.
    remove_while([&](const Candidate&) { return left_ > options_.max_bytes; });
  }

 private:
  template <class Condition>
  void remove_while(const Condition& condition) {
    for (; next_ < order_.size() && condition(*order_[next_]); ++next_) {
      const Candidate& entry = *order_[next_];
      const Directory& shard = inventory_.shards[entry.shard];
      if (!options_.dry_run && !remove_if_unchanged(shard, entry.name, entry.seen)) {
        // One that was used or replaced since is not the oldest any more.
        if (errno != 0 && result_.problem.empty()) {
          result_.problem = fmt::format("cannot remove {}/{}: {}", shard.path, entry.name, util::error_text(errno));
        }
        continue;
      }
      left_ -= entry.bytes();
      ++result_.removed_entries;
      result_.removed_bytes += entry.bytes();
      result_.removed_keys.push_back(entry.key);
    }
  }

  const Inventory& inventory_;
  const CollectOptions& options_;
  std::int64_t now_;
  std::uint64_t left_;
  Collected& result_;
  std::vector<const Candidate*> order_;
  std::size_t next_ = 0;
};

Collected collect_in(const std::string& root, const Access& access, const CollectOptions& options) {
  Collected result;
  const DirectoryResult format = open_format(root, IfAbsent::report, access);
  if (const auto* problem = std::get_if<Problem>(&format)) {
    result.done = problem->kind == Trouble::absent;  // nothing there: nothing to do
    if (!result.done) result.problem = problem->reason;
    return result;
  }
  const IfAbsent if_absent = options.dry_run ? IfAbsent::report : IfAbsent::create;
  const DirectoryResult locks = open_below(format, kLocksDirectory, if_absent);
  const DirectoryResult temporaries = open_below(format, kTemporaryDirectory, if_absent);
  std::optional<LockResult> held;
  if (const auto* directory = std::get_if<Directory>(&locks); directory != nullptr && !options.dry_run) {
    held.emplace(lock_file(*directory, kCollectorLock, options.lock_timeout));
    if (held->busy) {
      result.problem = held->degraded;
      return result;
    }
  }
  std::int64_t now = access.io->now();
  if (const auto* directory = std::get_if<Directory>(&temporaries)) {
    if (!options.dry_run) now = file_system_now(*directory);
    result.removed_temporaries = sweep_temporaries(*directory, now, options.dry_run);
  }
  if (const auto* directory = std::get_if<Directory>(&locks)) {
    result.removed_locks = sweep_locks(*directory, now, options.dry_run);
  }
  Inventory inventory = take_inventory(root, access);
  result.entries = inventory.entries.size();
  result.bytes = inventory.bytes;
  result.problem = inventory.problem;
  clamp_future(inventory, now, options.dry_run);
  Trim(inventory, options, now, result).run();
  if (!options.dry_run) sweep_programs(std::get<Directory>(format));
  result.done = true;
  return result;
}

}  // namespace

Collected Store::collect(const CollectOptions& options) {
  try {
    return collect_in(root_, access(), options);
  } catch (const std::exception& error) {
    Collected failed;
    failed.problem = error.what();
    return failed;
  }
}

std::uint64_t Store::keep_bound() {
  const bool waiting = over_bound_->exchange(false, std::memory_order_relaxed);
  const bool first = !swept_->exchange(true, std::memory_order_relaxed);
  if (options_.max_bytes == 0 && !first) return 0;
  // Other processes publish too, so that nothing less than a look at the directory tells its size.
  const bool exceeded = options_.max_bytes != 0 && take_inventory(root_, access()).bytes > options_.max_bytes;
  if (!exceeded && !first) return 0;
  const Collected collected =
      collect({.max_bytes = options_.max_bytes, .lock_timeout = waiting ? kWaitForCollector : milliseconds{0}});
  if (exceeded && !collected.done) over_bound_->store(true, std::memory_order_relaxed);
  return collected.removed_entries;
}

std::uint64_t Store::make_room(std::uint64_t bytes) {
  // Below the bound by what is about to come, so that the bound holds afterwards. It cannot be more than the bound.
  const std::uint64_t rest = options_.max_bytes == 0 ? 0 : std::max(options_.max_bytes - bytes, std::uint64_t{1});
  return collect({.max_bytes = rest, .lock_timeout = kWaitForCollector}).removed_entries;
}

}  // namespace librt::cache
