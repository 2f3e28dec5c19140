// Looking at a whole store, and emptying it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <utility>
#include <variant>

#include "src/cache/directory.hpp"
#include "src/cache/store.hpp"
#include "src/cache/unusable.hpp"

namespace librt::cache {
namespace {

StoredFile refused(std::string path, std::string reason) {
  StoredFile file;
  file.path = std::move(path);
  file.finding = Finding::untrusted;
  file.reason = std::move(reason);
  return file;
}

/// Nothing if another process removed the file meanwhile.
std::optional<StoredFile> inspect(const Directory& shard, const std::string& shard_name, const std::string& name,
                                  const Validate& validate, struct stat& status) {
  StoredFile stored;
  stored.path = fmt::format("{}/{}", shard.path, name);
  const auto key = key_of(shard_name, name);
  if (!key) return refused(stored.path, "its name is not that of a cache entry");
  stored.key = util::to_hex(*key);

  const FileResult file = read_trusted(shard, name, kMaxEntryBytes, status);
  stored.bytes = static_cast<std::uint64_t>(status.st_size);
  stored.last_used = status.st_mtim.tv_sec;
  if (const auto* problem = std::get_if<Problem>(&file)) {
    if (problem->kind == Trouble::absent) return std::nullopt;
    stored.finding = problem->kind == Trouble::damaged ? Finding::corrupt : Finding::untrusted;
    stored.reason = problem->reason;
    return stored;
  }
  auto decoded = decode_entry(std::get<FileContents>(file).bytes, *key);
  stored.reason = unusable(decoded, validate, std::nullopt);
  if (stored.reason.empty()) {
    stored.entry = std::get<Entry>(std::move(decoded));
  } else {
    stored.finding = Finding::corrupt;
  }
  return stored;
}

/// How many regular files with an accepted name were removed.
std::size_t remove_files(const Directory& directory, const std::function<bool(const std::string&)>& accept) {
  std::size_t removed = 0;
  for (const std::string& name : list(directory)) {
    struct stat status {};
    if (!accept(name) || ::fstatat(directory.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(status.st_mode) && ::unlinkat(directory.fd.get(), name.c_str(), 0) == 0) ++removed;
  }
  return removed;
}

}  // namespace

void Store::visit(const Visitor& visitor) const {
  const DirectoryResult objects = open_objects(root_, IfAbsent::report, access());
  if (const auto* problem = std::get_if<Problem>(&objects)) {
    if (problem->kind != Trouble::absent) visitor(refused(root_, problem->reason), nullptr);
    return;
  }
  const Directory& directory = std::get<Directory>(objects);
  for (const std::string& shard_name : list(directory)) {
    const std::string path = fmt::format("{}/{}", directory.path, shard_name);
    if (!is_shard_name(shard_name)) {
      visitor(refused(path, "its name is not that of a shard"), nullptr);
      continue;
    }
    const DirectoryResult shard = open_below(directory, shard_name, IfAbsent::report);
    if (const auto* problem = std::get_if<Problem>(&shard)) {
      if (problem->kind != Trouble::absent) visitor(refused(path, problem->reason), nullptr);
      continue;
    }
    const Directory& opened = std::get<Directory>(shard);
    for (const std::string& name : list(opened)) {
      struct stat status {};
      auto file = inspect(opened, shard_name, name, validate_, status);
      if (!file) continue;
      const Place place{opened, name, status};
      visitor(std::move(*file), &place);
    }
  }
}

std::vector<StoredFile> Store::scan() const {
  std::vector<StoredFile> files;
  visit([&](StoredFile file, const Place*) { files.push_back(std::move(file)); });
  return files;
}

std::size_t Store::repair() {
  std::size_t removed = 0;
  visit([&](const StoredFile& file, const Place* place) {
    const bool wrong = file.finding == Finding::corrupt && place != nullptr;
    if (wrong && remove_if_unchanged(place->shard, place->name, place->seen)) ++removed;
  });
  return removed;
}

bool Store::remove(const util::Digest& key) {
  const EntryName name = entry_name(key);
  const DirectoryResult shard =
      open_below(open_objects(root_, IfAbsent::report, access()), name.shard, IfAbsent::report);
  const auto* directory = std::get_if<Directory>(&shard);
  return directory != nullptr && directory->io().unlink(directory->fd.get(), name.file.c_str()) == 0;
}

std::size_t Store::clear() {
  const DirectoryResult root = open_root(root_, IfAbsent::report, access());
  if (const auto* problem = std::get_if<Problem>(&root)) {
    if (problem->kind != Trouble::absent) {
      warn_once("clear: " + problem->reason, fmt::format("kernel cache: {}; not cleared", problem->reason));
    }
    return 0;
  }
  const DirectoryResult format = open_below(std::get<Directory>(root), kFormatDirectory, IfAbsent::report);
  if (!std::holds_alternative<Directory>(format)) return 0;
  const DirectoryResult temporaries = open_below(std::get<Directory>(format), kTemporaryDirectory, IfAbsent::report);
  if (const auto* directory = std::get_if<Directory>(&temporaries)) remove_files(*directory, is_temporary_name);

  const DirectoryResult objects = open_below(std::get<Directory>(format), kObjectsDirectory, IfAbsent::report);
  if (!std::holds_alternative<Directory>(objects)) return 0;
  std::size_t removed = 0;
  for (const std::string& shard_name : list(std::get<Directory>(objects))) {
    if (!is_shard_name(shard_name)) continue;
    // The shards stay: another process may be about to rename into one.
    const DirectoryResult shard = open_below(std::get<Directory>(objects), shard_name, IfAbsent::report);
    if (const auto* directory = std::get_if<Directory>(&shard)) {
      removed +=
          remove_files(*directory, [&](const std::string& name) { return key_of(shard_name, name).has_value(); });
    }
  }
  return removed;
}

}  // namespace librt::cache
