#include "src/cache/store.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <exception>
#include <set>
#include <utility>
#include <variant>

#include "src/cache/unusable.hpp"
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

/// Tells backup programs to leave a directory out, see https://bford.info/cachedir/, if it holds nothing yet: a
/// directory with other things in it is somebody's data. Best effort.
void tag_if_new(const Directory& root) {
  constexpr std::string_view kTag =
      "Signature: 8a477f597d28d172789f06886806bc55\n"
      "# This directory holds kernels compiled by librt. All of it can be deleted at any time.\n";
  if (std::holds_alternative<Directory>(open_below(root, kFormatDirectory, IfAbsent::report))) return;
  if (!list(root).empty()) return;
  const util::UniqueFd fd = create_file(root, "CACHEDIR.TAG");
  if (fd) static_cast<void>(write_all(root.io(), fd.get(), std::as_bytes(std::span(kTag))));
}

/// Why the entry is not there now, or nothing.
std::optional<std::string> write_entry(const Directory& temporaries, const Directory& shard, const std::string& name,
                                       std::span<const std::byte> bytes, bool fsync) {
  IoOps& io = temporaries.io();
  const std::string temporary = util::temporary_name();
  const util::UniqueFd fd = create_file(temporaries, temporary);
  if (!fd) return fmt::format("cannot create a file in {}: {}", temporaries.path, util::error_text(errno));
  std::optional<std::string> problem;
  if (const int error = write_all(io, fd.get(), bytes)) {
    problem = fmt::format("cannot write in {}: {}", temporaries.path, util::error_text(error));
  } else if (fsync && io.fsync(fd.get()) != 0) {
    // Without it a crash of the machine could leave the name with no bytes behind it.
    problem = fmt::format("cannot sync in {}: {}", temporaries.path, util::error_text(errno));
  } else if (io.rename(temporaries.fd.get(), temporary.c_str(), shard.fd.get(), name.c_str()) != 0) {
    problem = fmt::format("cannot rename into {}: {}", shard.path, util::error_text(errno));
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

Store::Store(std::string root, util::Log log, Validate validate, StoreOptions options)
    : root_(std::move(root)),
      log_(std::move(log)),
      validate_(std::move(validate)),
      options_(options),
      warnings_(std::make_shared<Warnings>()),
      evicted_(std::make_shared<std::atomic<std::uint64_t>>(0)),
      over_bound_(std::make_shared<std::atomic<bool>>(false)),
      swept_(std::make_shared<std::atomic<bool>>(false)) {}

std::string Store::path_of(const util::Digest& key) const {
  const EntryName name = entry_name(key);
  return fmt::format("{}/{}/{}/{}/{}", root_, kFormatDirectory, kObjectsDirectory, name.shard, name.file);
}

Found Store::find(const util::Digest& key, std::string_view key_document) {
  try {
    return find_file(key, key_document);
  } catch (const std::exception& error) {
    warn_once(error.what(), fmt::format("the kernel cache in {} could not be read: {}", root_, error.what()));
    return {};
  }
}

Found Store::find_file(const util::Digest& key, std::string_view key_document) {
  const EntryName name = entry_name(key);
  const auto refuse = [this](const Problem& problem) -> Found {
    if (problem.kind == Trouble::absent) return {};
    warn_once(problem.reason, fmt::format("kernel cache: {}; it is not used", problem.reason));
    if (problem.kind == Trouble::untrusted) return {.untrusted = problem.reason};
    return {};
  };

  const DirectoryResult shard =
      open_below(open_objects(root_, IfAbsent::report, access()), name.shard, IfAbsent::report);
  if (const auto* problem = std::get_if<Problem>(&shard)) return refuse(*problem);
  const Directory& directory = std::get<Directory>(shard);

  struct stat seen {};
  FileResult file = read_trusted(directory, name.file, kMaxEntryBytes, seen);
  std::string damage;
  if (const auto* problem = std::get_if<Problem>(&file)) {
    if (problem->kind != Trouble::damaged) return refuse(*problem);
    damage = problem->reason;
  } else {
    const FileContents& contents = std::get<FileContents>(file);
    auto decoded = decode_entry(contents.bytes, key, options_.verify);
    damage = unusable(decoded, validate_, key_document);
    if (damage.empty()) {
      if (options_.writable) touch_if_old(directory.io(), contents);
      return {.entry = std::get<Entry>(std::move(decoded))};
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

bool Store::publish(const util::Digest& key, const Entry& entry) {
  std::string reason;
  try {
    const auto problem = publish_file(key, entry);
    if (!problem) {
      keep_bound();
      return true;
    }
    reason = *problem;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  warn_once(reason, fmt::format("a compiled kernel could not be kept in the cache: {}", reason));
  return false;
}

std::optional<std::string> Store::publish_file(const util::Digest& key, const Entry& entry) {
  if (!options_.writable) return fmt::format("{} is read-only", root_);
  const std::vector<std::byte> bytes = encode_entry(key, entry);
  if (options_.max_bytes != 0 && bytes.size() > options_.max_bytes) {
    return fmt::format("it has {} bytes, more than the whole cache may have ({})", bytes.size(), options_.max_bytes);
  }
  // What the last publish could not trim comes first, so that no process is ever more than one entry above the bound.
  if (over_bound_->load(std::memory_order_relaxed)) keep_bound();

  const DirectoryResult root = open_root(root_, IfAbsent::create, access());
  if (const auto* directory = std::get_if<Directory>(&root)) tag_if_new(*directory);
  const EntryName name = entry_name(key);
  const DirectoryResult format = open_below(root, kFormatDirectory, IfAbsent::create);
  const DirectoryResult temporaries = open_below(format, kTemporaryDirectory, IfAbsent::create);
  const DirectoryResult shard =
      open_below(open_below(format, kObjectsDirectory, IfAbsent::create), name.shard, IfAbsent::create);
  for (const DirectoryResult* directory : {&temporaries, &shard}) {
    if (const auto* problem = std::get_if<Problem>(directory)) return problem->reason;
  }
  return write_entry(std::get<Directory>(temporaries), std::get<Directory>(shard), name.file, bytes, options_.fsync);
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
