// Looking at a whole store, and emptying it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <utility>
#include <variant>

#include "src/cache/directory.hpp"
#include "src/cache/programs.hpp"
#include "src/cache/refusal.hpp"
#include "src/cache/store.hpp"

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
  stored.reason = entry_refusal(decoded, validate, std::nullopt);
  if (stored.reason.empty()) {
    stored.entry = std::get<Entry>(std::move(decoded));
  } else {
    stored.finding = Finding::corrupt;
  }
  return stored;
}

void add_problem(Removed& removed, std::string_view path, int error) {
  if (removed.problem.empty()) removed.problem = fmt::format("cannot remove {}: {}", path, util::error_text(error));
}

/// Regular files with an accepted name.
void remove_files(const Directory& directory, const std::function<bool(const std::string&)>& accept, Removed& removed) {
  for (const std::string& name : list(directory)) {
    struct stat status {};
    if (!accept(name) || ::fstatat(directory.fd.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(status.st_mode)) continue;
    if (directory.io().unlink(directory.fd.get(), name.c_str()) == 0) {
      ++removed.entries;
    } else if (errno != ENOENT) {
      add_problem(removed, fmt::format("{}/{}", directory.path, name), errno);
    }
  }
}

Store::WhileVisitor always(const Store::Visitor& visitor) {
  return [&visitor](StoredFile file, const Store::VisitedFile* place) {
    visitor(std::move(file), place);
    return true;
  };
}

}  // namespace

bool Store::visit_shard(const Directory& shard, const std::string& shard_name, const std::vector<std::string>& names,
                        const WhileVisitor& visitor) const {
  for (const std::string& name : names) {
    struct stat status {};
    auto file = inspect(shard, shard_name, name, validate_, status);
    if (!file) continue;
    const VisitedFile place{shard, name, status};
    if (!visitor(std::move(*file), &place)) return false;
  }
  return true;
}

void Store::visit_while(const WhileVisitor& visitor) const {
  const DirectoryResult objects = open_objects(root_, IfAbsent::report, access());
  if (const auto* problem = std::get_if<Problem>(&objects)) {
    if (problem->kind != Trouble::absent) visitor(refused(root_, problem->reason), nullptr);
    return;
  }
  const Directory& directory = std::get<Directory>(objects);
  for (const std::string& shard_name : list(directory)) {
    const std::string path = fmt::format("{}/{}", directory.path, shard_name);
    if (!is_shard_name(shard_name)) {
      if (!visitor(refused(path, "its name is not that of a shard"), nullptr)) return;
      continue;
    }
    const DirectoryResult shard = open_below(directory, shard_name, IfAbsent::report);
    if (const auto* problem = std::get_if<Problem>(&shard)) {
      if (problem->kind != Trouble::absent && !visitor(refused(path, problem->reason), nullptr)) return;
      continue;
    }
    const Directory& opened = std::get<Directory>(shard);
    if (!visit_shard(opened, shard_name, list(opened), visitor)) return;
  }
}

void Store::visit(const Visitor& visitor) const {
  visit_while(always(visitor));
}

void Store::visit(const Visitor& visitor, std::string_view key_prefix) const {
  const std::string shard_name(key_prefix.substr(0, 2));
  const std::string_view rest = key_prefix.substr(2);
  const DirectoryResult shard =
      open_below(open_objects(root_, IfAbsent::report, access()), shard_name, IfAbsent::report);
  const auto* directory = std::get_if<Directory>(&shard);
  if (directory == nullptr) return;
  util::Digest key{};
  std::vector<std::string> names;
  if (util::from_hex(key_prefix, key)) {
    names.push_back(entry_name(key).file);
  } else {
    names = list(*directory);
    std::erase_if(names, [&](const std::string& name) { return !name.starts_with(rest) || !key_of(shard_name, name); });
  }
  visit_shard(*directory, shard_name, names, always(visitor));
}

std::vector<StoredFile> Store::scan() const {
  std::vector<StoredFile> files;
  visit([&](StoredFile file, const VisitedFile*) { files.push_back(std::move(file)); });
  return files;
}

Removed Store::repair() {
  Removed removed;
  visit([&](const StoredFile& file, const VisitedFile* place) {
    if (file.finding != Finding::corrupt || place == nullptr) return;
    if (remove_if_unchanged(place->shard, place->name, place->seen)) {
      ++removed.entries;
    } else if (errno != 0) {
      add_problem(removed, file.path, errno);
    }
  });
  const DirectoryResult format = open_format(root_, IfAbsent::report, access());
  if (const auto* directory = std::get_if<Directory>(&format)) sweep_programs(*directory);
  return removed;
}

bool Store::remove(const util::Digest& key) {
  const EntryName name = entry_name(key);
  const DirectoryResult shard =
      open_below(open_objects(root_, IfAbsent::report, access()), name.shard, IfAbsent::report);
  const auto* directory = std::get_if<Directory>(&shard);
  return directory != nullptr && directory->io().unlink(directory->fd.get(), name.file.c_str()) == 0;
}

Removed Store::clear() {
  Removed removed;
  const DirectoryResult format = open_format(root_, IfAbsent::report, access());
  if (const auto* problem = std::get_if<Problem>(&format)) {
    if (problem->kind != Trouble::absent) removed.problem = problem->reason;
    return removed;
  }
  const DirectoryResult temporaries = open_below(format, kTemporaryDirectory, IfAbsent::report);
  note_refusal(temporaries, removed.problem);
  if (const auto* directory = std::get_if<Directory>(&temporaries)) {
    remove_files(*directory, is_temporary_name, removed);
    removed.entries = 0;
  }
  const DirectoryResult objects = open_below(format, kObjectsDirectory, IfAbsent::report);
  note_refusal(objects, removed.problem);
  if (!std::holds_alternative<Directory>(objects)) return removed;
  for (const std::string& shard_name : list(std::get<Directory>(objects))) {
    if (!is_shard_name(shard_name)) continue;
    // The shards stay: another process may be about to rename into one.
    const DirectoryResult shard = open_below(std::get<Directory>(objects), shard_name, IfAbsent::report);
    note_refusal(shard, removed.problem);
    if (const auto* directory = std::get_if<Directory>(&shard)) {
      remove_files(
          *directory, [&](const std::string& name) { return key_of(shard_name, name).has_value(); }, removed);
    }
  }
  sweep_programs(std::get<Directory>(format));
  return removed;
}

}  // namespace librt::cache
