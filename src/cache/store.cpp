#include "src/cache/store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <exception>
#include <mutex>
#include <set>
#include <utility>
#include <variant>

#include "src/cache/directory.hpp"
#include "src/cache/unusable.hpp"

namespace librt::cache {
namespace {

// Recency to the hour is enough for eviction, and a hit then writes nothing, mostly.
constexpr std::time_t kTouchAfterSeconds = 3600;

void touch_if_old(const FileContents& file) {
  if (std::time(nullptr) - file.status.st_mtim.tv_sec <= kTouchAfterSeconds) return;
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
  const util::UniqueFd fd(
      ::openat(root.fd.get(), "CACHEDIR.TAG", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (fd) static_cast<void>(util::write_full(fd.get(), std::as_bytes(std::span(kTag))));
}

/// Why the entry is not there now, or nothing.
std::optional<std::string> write_entry(const Directory& temporaries, const Directory& shard, const std::string& name,
                                       std::span<const std::byte> bytes) {
  const std::string temporary = util::temporary_name();
  const util::UniqueFd fd(
      ::openat(temporaries.fd.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fmt::format("cannot create a file in {}: {}", temporaries.path, util::error_text(errno));
  std::optional<std::string> problem;
  if (const int error = util::write_full(fd.get(), bytes)) {
    problem = fmt::format("cannot write in {}: {}", temporaries.path, util::error_text(error));
  } else if (::fsync(fd.get()) != 0) {
    // Without it a crash of the machine could leave the name with no bytes behind it.
    problem = fmt::format("cannot sync in {}: {}", temporaries.path, util::error_text(errno));
  } else if (::renameat(temporaries.fd.get(), temporary.c_str(), shard.fd.get(), name.c_str()) != 0) {
    problem = fmt::format("cannot rename into {}: {}", shard.path, util::error_text(errno));
  }
  if (problem) ::unlinkat(temporaries.fd.get(), temporary.c_str(), 0);
  return problem;
}

std::optional<std::string> publish_bytes(const std::string& root_path, const EntryName& name,
                                         std::span<const std::byte> bytes) {
  const DirectoryResult root = open_root(root_path, IfAbsent::create);
  if (const auto* problem = std::get_if<Problem>(&root)) return problem->reason;
  tag_if_new(std::get<Directory>(root));
  const auto step = [](const DirectoryResult& parent, const std::string& child) -> DirectoryResult {
    if (const auto* problem = std::get_if<Problem>(&parent)) return *problem;
    return open_below(std::get<Directory>(parent), child, IfAbsent::create);
  };
  const DirectoryResult format = step(root, kFormatDirectory);
  const DirectoryResult temporaries = step(format, kTemporaryDirectory);
  const DirectoryResult shard = step(step(format, kObjectsDirectory), name.shard);
  if (const auto* problem = std::get_if<Problem>(&temporaries)) return problem->reason;
  if (const auto* problem = std::get_if<Problem>(&shard)) return problem->reason;
  return write_entry(std::get<Directory>(temporaries), std::get<Directory>(shard), name.file, bytes);
}

}  // namespace

/// What was warned about already, so that a broken disk does not fill a log.
class Store::Warnings {
 public:
  bool first(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    return seen_.insert(reason).second;
  }

 private:
  std::mutex mutex_;
  std::set<std::string> seen_;
};

Store::Store(std::string root, util::Log log, Validate validate)
    : root_(std::move(root)),
      log_(std::move(log)),
      validate_(std::move(validate)),
      warnings_(std::make_shared<Warnings>()) {}

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

  DirectoryResult shard = open_objects(root_, IfAbsent::report);
  if (const auto* objects = std::get_if<Directory>(&shard)) shard = open_below(*objects, name.shard, IfAbsent::report);
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
    auto decoded = decode_entry(contents.bytes, key);
    damage = unusable(decoded, validate_, key_document);
    if (damage.empty()) {
      touch_if_old(contents);
      return {.entry = std::get<Entry>(std::move(decoded))};
    }
  }
  const bool removed = remove_if_unchanged(directory, name.file, seen);
  const std::string message =
      fmt::format("kernel cache: {}/{} cannot be used: {}; {}", directory.path, name.file, damage,
                  removed ? "removed" : "it could not be removed, or was replaced meanwhile");
  warn_once(message, message);
  return {.corrupt = std::move(damage)};
}

bool Store::publish(const util::Digest& key, const Entry& entry) {
  std::string reason;
  try {
    const auto problem = publish_bytes(root_, entry_name(key), encode_entry(key, entry));
    if (!problem) return true;
    reason = *problem;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  warn_once(reason, fmt::format("a compiled kernel could not be kept in the cache: {}", reason));
  return false;
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
