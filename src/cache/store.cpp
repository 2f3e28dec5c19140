#include "src/cache/store.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <iterator>
#include <map>
#include <set>
#include <utility>
#include <variant>

#include "src/cache/programs.hpp"
#include "src/cache/refusal.hpp"
#include "src/cache/search_bound.hpp"
#include "src/util/key_document.hpp"
#include "src/util/per_process.hpp"

namespace librt::cache {
namespace {

// Recency to the hour is enough for eviction, and a hit then writes nothing, mostly.
constexpr std::int64_t kTouchAfterSeconds = 3600;

void touch_if_old(IoOps& io, const FileContents& file) {
  const std::int64_t age = io.now() - file.status.st_mtim.tv_sec;
  if (age <= kTouchAfterSeconds && age >= -kTouchAfterSeconds) return;
  static_cast<void>(::futimens(file.fd.get(), nullptr));  // somebody else's file or a read-only mount: no matter
}

/// Room that a collection may make.
bool is_full(const Problem& problem) {
  return problem.error == ENOSPC || problem.error == EDQUOT;
}

/// Why the entry is not there now, or nothing.
std::optional<Problem> write_entry(const Directory& temporaries, const Directory& shard, const std::string& name,
                                   std::span<const std::byte> bytes, bool fsync) {
  IoOps& io = temporaries.io();
  const std::string temporary = util::temporary_name();
  const util::UniqueFd fd = create_file(temporaries, temporary);
  const auto problem_of = [](const char* what, const Directory& where, int error) -> std::optional<Problem> {
    return Problem{Trouble::io, fmt::format("cannot {} {}: {}", what, where.path, util::error_text(error)), error};
  };
  if (!fd) return problem_of("create a file in", temporaries, errno);
  std::optional<Problem> problem;
  if (const int error = write_all(io, fd.get(), bytes)) {
    problem = problem_of("write in", temporaries, error);
  } else if (fsync && io.fsync(fd.get()) != 0) {
    // Without it a crash of the machine could leave the name with no bytes behind it.
    problem = problem_of("sync in", temporaries, errno);
  } else if (io.rename(temporaries.fd.get(), temporary.c_str(), shard.fd.get(), name.c_str()) != 0) {
    problem = problem_of("rename into", shard, errno);
  }
  if (problem) io.unlink(temporaries.fd.get(), temporary.c_str());
  return problem;
}

}  // namespace

/// What was warned about already, so that a broken disk does not fill a log.
class Store::Warnings {
 public:
  bool first(const std::string& reason) { return seen_.lock()->insert(reason).second; }

 private:
  util::PerProcess<std::set<std::string>> seen_;
};

/// The programs of entries that have no mark: an earlier librt made them, or a process that was killed.
class Store::Unmarked {
 public:
  std::vector<util::Digest> keys_of(const Store& store, const util::Digest& program) {
    const auto keys = keys_.lock();
    if (!*keys) {
      keys->emplace();
      SearchBound bound(*store.access().io);
      store.visit_while([&](const StoredFile& file, const VisitedFile*) {
        util::Digest key;
        if (file.entry && util::from_hex(file.key, key)) (*keys)->emplace(program_of(file.entry->key_document), key);
        return bound.goes_on();
      });
    }
    std::vector<util::Digest> found;
    const auto [begin, end] = (*keys)->equal_range(program);
    std::transform(begin, end, std::back_inserter(found), [](const auto& each) { return each.second; });
    return found;
  }

 private:
  util::PerProcess<std::optional<std::multimap<util::Digest, util::Digest>>> keys_;
};

Store::Store(std::string root, util::Log log, Validate validate, StoreOptions options)
    : root_(std::move(root)),
      log_(std::move(log)),
      validate_(std::move(validate)),
      options_(options),
      warnings_(std::make_shared<Warnings>()),
      unmarked_(std::make_shared<Unmarked>()),
      over_bound_(std::make_shared<std::atomic<bool>>(false)),
      swept_(std::make_shared<std::atomic<bool>>(false)) {}

std::string Store::path_of(const util::Digest& key) const {
  const EntryName name = entry_name(key);
  return fmt::format("{}/{}/{}/{}/{}", root_, kFormatDirectory, kObjectsDirectory, name.shard, name.file);
}

EntryLookup Store::find(const util::Digest& key, std::string_view key_document, const Validate& expected) {
  try {
    return find_file(key, key_document, expected);
  } catch (const std::exception& error) {
    warn_once(error.what(), fmt::format("the kernel cache in {} could not be read: {}", root_, error.what()));
    return {};
  }
}

EntryLookup Store::find_program(std::string_view program_document, const Validate& expected,
                                const std::vector<util::Digest>& except) {
  try {
    return find_newest(program_document, expected, except);
  } catch (const std::exception& error) {
    warn_once(error.what(), fmt::format("the kernel cache in {} could not be read: {}", root_, error.what()));
    return {};
  }
}

EntryLookup Store::find_newest(std::string_view program_document, const Validate& expected,
                               const std::vector<util::Digest>& except) {
  const util::Digest program = program_of(program_document);
  const DirectoryResult format = open_format(root_, IfAbsent::report, access());
  if (const auto* problem = std::get_if<Problem>(&format)) return not_found(*problem);
  std::vector<util::Digest> keys = marked_keys(std::get<Directory>(format), program);
  if (keys.empty()) keys = unmarked_->keys_of(*this, program);
  EntryLookup newest;
  std::pair<int, int> newest_version;
  for (const util::Digest& key : keys) {
    if (std::find(except.begin(), except.end(), key) != except.end()) continue;
    EntryLookup found = find_file(key, std::nullopt, {});
    if (found.entry) {
      const std::string document = found.entry->key_document;
      // A mark says where to look, not what is there.
      if (util::program_document(document) != program_document) continue;
      if (expected && expected(*found.entry)) found = find_file(key, document, expected);
    }
    if (!found.entry) {
      if (!newest.entry && (found.corrupt || found.untrusted)) newest = std::move(found);
      continue;
    }
    const std::pair<int, int> version = compiler_version(found.entry->key_document);
    if (newest.entry && version <= newest_version) continue;
    newest = std::move(found);
    newest_version = version;
  }
  return newest;
}

EntryLookup Store::not_found(const Problem& problem) {
  if (problem.kind == Trouble::absent) return {};
  warn_once(problem.reason, fmt::format("kernel cache: {}; it is not used", problem.reason));
  if (problem.kind == Trouble::untrusted) return {.untrusted = problem.reason};
  return {};
}

EntryLookup Store::find_file(const util::Digest& key, std::optional<std::string_view> key_document,
                             const Validate& expected) {
  const EntryName name = entry_name(key);
  const DirectoryResult format = open_format(root_, IfAbsent::report, access());
  const DirectoryResult shard =
      open_below(open_below(format, kObjectsDirectory, IfAbsent::report), name.shard, IfAbsent::report);
  if (const auto* problem = std::get_if<Problem>(&shard)) return not_found(*problem);
  const Directory& directory = std::get<Directory>(shard);

  struct stat seen {};
  FileResult file = read_trusted(directory, name.file, kMaxEntryBytes, seen);
  std::string damage;
  if (const auto* problem = std::get_if<Problem>(&file)) {
    if (problem->kind != Trouble::damaged) return not_found(*problem);
    damage = problem->reason;
  } else {
    const FileContents& contents = std::get<FileContents>(file);
    auto decoded = decode_entry(contents.bytes, key);
    damage = entry_refusal(decoded, validate_, key_document, expected);
    if (damage.empty()) {
      Entry& entry = std::get<Entry>(decoded);
      if (options_.writable) {
        touch_if_old(directory.io(), contents);
        static_cast<void>(mark_program(std::get<Directory>(format), program_of(entry.key_document), key));
      }
      return {.entry = std::move(entry), .key = key};
    }
  }
  const char* const outcome = !options_.writable                                ? "this cache is read-only"
                              : remove_if_unchanged(directory, name.file, seen) ? "removed"
                                                                                : "it could not be removed, or was "
                                                                                  "replaced meanwhile";
  const std::string message =
      fmt::format("kernel cache: {}/{} cannot be used: {}; {}", directory.path, name.file, damage, outcome);
  warn_once(message, message);
  return {.corrupt = std::move(damage)};
}

PublishResult Store::publish(const util::Digest& key, const Entry& entry) {
  PublishResult result;
  std::string reason;
  try {
    const std::vector<std::byte> bytes = encode_entry(key, entry);
    // What the last publish could not trim comes first, so that no process is ever more than one entry above the bound.
    if (options_.writable && over_bound_->load(std::memory_order_relaxed)) result.evicted += keep_bound();
    const util::Digest program = program_of(entry.key_document);
    auto problem = publish_file(key, program, bytes);
    if (problem && is_full(*problem)) {
      result.evicted += make_room(bytes.size());
      problem = publish_file(key, program, bytes);
    }
    if (!problem) {
      result.kept = true;
      result.evicted += keep_bound();
      return result;
    }
    reason = problem->reason;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  warn_once(reason, fmt::format("a compiled kernel could not be kept in the cache: {}", reason));
  return result;
}

std::optional<Problem> Store::publish_file(const util::Digest& key, const util::Digest& program,
                                           std::span<const std::byte> bytes) {
  if (!options_.writable) return Problem{Trouble::io, fmt::format("{} is read-only", root_)};
  if (options_.max_bytes != 0 && bytes.size() > options_.max_bytes) {
    return Problem{Trouble::io, fmt::format("it has {} bytes, more than the whole cache may have ({})", bytes.size(),
                                            options_.max_bytes)};
  }
  const EntryName name = entry_name(key);
  const DirectoryResult format = open_format(root_, IfAbsent::create, access());
  const DirectoryResult temporaries = open_below(format, kTemporaryDirectory, IfAbsent::create);
  const DirectoryResult shard =
      open_below(open_below(format, kObjectsDirectory, IfAbsent::create), name.shard, IfAbsent::create);
  for (const DirectoryResult* directory : {&temporaries, &shard}) {
    if (const auto* problem = std::get_if<Problem>(directory)) return *problem;
  }
  auto problem =
      write_entry(std::get<Directory>(temporaries), std::get<Directory>(shard), name.file, bytes, options_.fsync);
  // After the entry: a mark before it could be swept away meanwhile. The next hit makes one that was not made.
  if (!problem) static_cast<void>(mark_program(std::get<Directory>(format), program, key));
  return problem;
}

LockResult Store::lock(const util::Digest& key, std::chrono::milliseconds timeout) {
  try {
    const DirectoryResult locks =
        open_below(open_format(root_, IfAbsent::create, access()), kLocksDirectory, IfAbsent::create);
    if (const auto* problem = std::get_if<Problem>(&locks)) return {.degraded = problem->reason};
    return lock_file(std::get<Directory>(locks), lock_name(key), timeout);
  } catch (const std::exception& error) {
    return {.degraded = error.what()};
  }
}

void Store::warn_once(const std::string& reason, const std::string& message) noexcept {
  try {
    if (!warnings_->first(reason)) return;
  } catch (const std::exception&) {
    // No memory left to remember it: say it once more.
  }
  log_(LogLevel::warn, message);
}

}  // namespace librt::cache
