#include "src/cache/directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

namespace librt::cache {
namespace {

constexpr std::string_view kEntrySuffix = ".rtk";
constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr std::string_view kLockSuffix = ".lock";
constexpr std::size_t kShardDigits = 2;

struct CloseDirectory {
  void operator()(DIR* stream) const noexcept { ::closedir(stream); }
};

bool all_in(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

/// Makes a directory with these rights, whatever the umask. 0 or errno; one that exists is left as it is, and no error.
/// A file system that has no rights to give leaves others: whether these will do is for checked() to say.
int make_directory(IoOps& io, int parent, const std::string& name, mode_t mode) {
  if (io.mkdir(parent, name.c_str(), mode) != 0) return errno == EEXIST ? 0 : errno;
  struct stat status {};
  if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return errno;
  if ((status.st_mode & 0777) == mode) return 0;
  // By name: a umask can take the owner's right to open it. Without /proc the C library cannot but follow links.
  const mode_t rights = mode | (status.st_mode & S_ISGID);
  if (::fchmodat(parent, name.c_str(), rights, AT_SYMLINK_NOFOLLOW) != 0 && errno == EOPNOTSUPP) {
    static_cast<void>(::fchmodat(parent, name.c_str(), rights, 0));
  }
  return 0;
}

/// With all that lead to it, as make_directory().
int make_directories(IoOps& io, const std::string& path, mode_t mode) {
  const int error = make_directory(io, AT_FDCWD, path, mode);
  const std::size_t slash = path.find_last_of('/');
  if (error != ENOENT || slash == std::string::npos || slash == 0) return error;
  if (const int above = make_directories(io, path.substr(0, slash), 0700)) return above;
  return make_directory(io, AT_FDCWD, path, mode);
}

Problem open_problem(const std::string& path, int error) {
  switch (error) {
    case ENOENT:
    case ESTALE:  // NFS: it was replaced or removed on another machine
      return {Trouble::absent, fmt::format("{} does not exist", path)};
    case ELOOP:
      return {Trouble::untrusted, fmt::format("{} is a symbolic link", path)};
    case ENXIO:
      return {Trouble::untrusted, fmt::format("{} is not a regular file", path)};
    default:
      return {Trouble::io, fmt::format("cannot open {}: {}", path, util::error_text(error)), error};
  }
}

Problem create_problem(const std::string& path, int error) {
  return {Trouble::io, fmt::format("cannot create {}: {}", path, util::error_text(error)), error};
}

Problem untrusted(const std::string& path, const std::string& reason) {
  return {Trouble::untrusted, fmt::format("{} {}", path, reason)};
}

DirectoryResult checked(util::UniqueFd fd, std::string path, const Access& access) {
  struct stat status {};
  if (access.io->fstat(fd.get(), &status) != 0) {
    return Problem{Trouble::io, fmt::format("cannot inspect {}: {}", path, util::error_text(errno))};
  }
  if (const auto reason = distrust(status, access.trust)) return untrusted(path, *reason);
  return Directory{std::move(fd), std::move(path), access};
}

/// Nothing if the open file may be used.
std::optional<Problem> check_file(const Directory& directory, int fd, const std::string& path, struct stat& status) {
  if (directory.io().fstat(fd, &status) != 0) {
    return Problem{Trouble::io, fmt::format("cannot inspect {}: {}", path, util::error_text(errno))};
  }
  if (!S_ISREG(status.st_mode)) return untrusted(path, "is not a regular file");
  if (const auto reason = distrust(status, directory.access.trust)) return untrusted(path, *reason);
  return std::nullopt;
}

/// What was just created must not lose rights to the umask: neither its owner's nor, with Trust::shared, the group's.
void set_rights(int fd, mode_t mode) {
  struct stat status {};
  if (::fstat(fd, &status) == 0 && (status.st_mode & 0777) != mode) static_cast<void>(::fchmod(fd, mode));
}

/// Tells backup programs to leave a directory out, see https://bford.info/cachedir/, if it holds nothing yet: a
/// directory with other things in it is somebody's data. Best effort.
void tag_if_empty(const Directory& root) {
  constexpr std::string_view kTag =
      "Signature: 8a477f597d28d172789f06886806bc55\n"
      "# This directory holds kernels compiled by librt. All of it can be deleted at any time.\n";
  constexpr const char* kTagName = "CACHEDIR.TAG";
  if (!list(root).empty()) return;
  const util::UniqueFd fd = create_file(root, kTagName);
  if (fd && write_all(root.io(), fd.get(), std::as_bytes(std::span(kTag))) != 0) {
    root.io().unlink(root.fd.get(), kTagName);
  }
}

}  // namespace

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

EntryName entry_name(const util::Digest& key) {
  const std::string hex = util::to_hex(key);
  return {hex.substr(0, kShardDigits), hex.substr(kShardDigits).append(kEntrySuffix)};
}

std::optional<util::Digest> key_of(std::string_view shard, std::string_view file) {
  if (shard.size() != kShardDigits || !file.ends_with(kEntrySuffix)) return std::nullopt;
  file.remove_suffix(kEntrySuffix.size());
  util::Digest key;
  if (!util::from_hex(std::string(shard).append(file), key)) return std::nullopt;
  return key;
}

bool is_shard_name(std::string_view name) {
  return name.size() == kShardDigits && all_in(name, "0123456789abcdef");
}

bool is_temporary_name(std::string_view name) {
  if (!name.ends_with(kTemporarySuffix)) return false;
  name.remove_suffix(kTemporarySuffix.size());
  const std::size_t dash = name.find('-');
  return dash != std::string_view::npos && all_in(name.substr(0, dash), "0123456789") && name.size() - dash - 1 == 16 &&
         all_in(name.substr(dash + 1), "0123456789abcdef");
}

bool is_lock_name(std::string_view name) {
  if (!name.ends_with(kLockSuffix)) return false;
  name.remove_suffix(kLockSuffix.size());
  return name.size() == 16 && all_in(name, "0123456789abcdef");
}

DirectoryResult open_root(const std::string& path, IfAbsent if_absent, const Access& access) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  IoOps& io = *access.io;
  util::UniqueFd fd(io.open(AT_FDCWD, path.c_str(), kFlags, 0));
  if (!fd && errno == ENOENT && if_absent == IfAbsent::create) {
    if (const int error = make_directories(io, path, access.directory_mode())) return create_problem(path, error);
    fd = util::UniqueFd(io.open(AT_FDCWD, path.c_str(), kFlags, 0));
  }
  if (!fd) return open_problem(path, errno);
  return checked(std::move(fd), path, access);
}

DirectoryResult open_below(const Directory& parent, const std::string& name, IfAbsent if_absent) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const Access& access = parent.access;
  std::string path = fmt::format("{}/{}", parent.path, name);
  util::UniqueFd fd(parent.io().open(parent.fd.get(), name.c_str(), kFlags, 0));
  if (!fd && errno == ENOENT && if_absent == IfAbsent::create) {
    if (const int error = make_directory(parent.io(), parent.fd.get(), name, access.directory_mode())) {
      return create_problem(path, error);
    }
    fd = util::UniqueFd(parent.io().open(parent.fd.get(), name.c_str(), kFlags, 0));
  }
  if (fd) return checked(std::move(fd), std::move(path), access);
  // Linux says ENOTDIR for a symbolic link too where a directory is asked for.
  if (errno == ENOTDIR) return untrusted(path, "is not a directory of the cache");
  return open_problem(path, errno);
}

DirectoryResult open_below(const DirectoryResult& parent, const std::string& name, IfAbsent if_absent) {
  if (const auto* problem = std::get_if<Problem>(&parent)) return *problem;
  return open_below(std::get<Directory>(parent), name, if_absent);
}

DirectoryResult open_format(const std::string& root, IfAbsent if_absent, const Access& access) {
  const DirectoryResult opened = open_root(root, if_absent, access);
  DirectoryResult format = open_below(opened, kFormatDirectory, IfAbsent::report);
  const auto* problem = std::get_if<Problem>(&format);
  if (if_absent == IfAbsent::report || problem == nullptr || problem->kind != Trouble::absent) return format;
  if (const auto* directory = std::get_if<Directory>(&opened)) tag_if_empty(*directory);
  return open_below(opened, kFormatDirectory, IfAbsent::create);
}

DirectoryResult open_objects(const std::string& root, IfAbsent if_absent, const Access& access) {
  return open_below(open_format(root, if_absent, access), kObjectsDirectory, if_absent);
}

std::optional<Problem> store_refusal(const std::string& root, const Access& access) {
  const DirectoryResult objects = open_objects(root, IfAbsent::report, access);
  const auto* const problem = std::get_if<Problem>(&objects);
  if (problem == nullptr || problem->kind == Trouble::absent) return std::nullopt;
  return *problem;
}

void note_refusal(const DirectoryResult& directory, std::string& problem) {
  const auto* const refused = std::get_if<Problem>(&directory);
  if (refused != nullptr && refused->kind != Trouble::absent && problem.empty()) problem = refused->reason;
}

std::vector<std::string> list(const Directory& directory) {
  std::vector<std::string> names;
  // A descriptor of its own: closedir closes it, and a shared one would share the position in the directory.
  util::UniqueFd fd(::openat(directory.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return names;
  const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(fd.get()));
  if (!stream) return names;
  static_cast<void>(fd.release());
  while (const dirent* item = ::readdir(stream.get())) {
    const std::string_view name = item->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

util::UniqueFd create_file(const Directory& directory, const std::string& name) {
  const mode_t mode = directory.access.file_mode();
  util::UniqueFd fd(directory.io().open(directory.fd.get(), name.c_str(),
                                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (fd) set_rights(fd.get(), mode);
  return fd;
}

std::variant<util::UniqueFd, Problem> open_shared_file(const Directory& directory, const std::string& name) {
  constexpr int kFlags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  const std::string path = fmt::format("{}/{}", directory.path, name);
  const auto open = [&](int more) {
    return util::UniqueFd(
        directory.io().open(directory.fd.get(), name.c_str(), kFlags | more, directory.access.file_mode()));
  };
  util::UniqueFd fd = open(0);
  if (!fd && errno == ENOENT) {
    fd = open(O_CREAT | O_EXCL);
    if (fd) {
      set_rights(fd.get(), directory.access.file_mode());
    } else if (errno == EEXIST) {
      fd = open(0);
    }
  }
  if (!fd) return open_problem(path, errno);
  struct stat status {};
  if (auto problem = check_file(directory, fd.get(), path, status)) return *std::move(problem);
  return fd;
}

FileResult read_trusted(const Directory& directory, const std::string& name, std::size_t max_bytes,
                        struct stat& status) {
  const std::string path = fmt::format("{}/{}", directory.path, name);
  util::UniqueFd fd(
      directory.io().open(directory.fd.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0));
  if (!fd) return open_problem(path, errno);
  if (auto problem = check_file(directory, fd.get(), path, status)) return *std::move(problem);
  if (static_cast<std::size_t>(status.st_size) > max_bytes) {
    return Problem{Trouble::damaged, fmt::format("{} bytes; at most {} are allowed", status.st_size, max_bytes)};
  }
  std::vector<std::byte> bytes(static_cast<std::size_t>(status.st_size));
  std::size_t got = 0;
  if (const int error = read_all(directory.io(), fd.get(), bytes, got)) {
    if (error == ESTALE) return open_problem(path, error);
    return Problem{Trouble::io, fmt::format("cannot read {}: {}", path, util::error_text(error))};
  }
  bytes.resize(got);
  return FileContents{std::move(bytes), status, std::move(fd)};
}

bool remove_if_unchanged(const Directory& directory, const std::string& name, const struct stat& seen) {
  struct stat now {};
  if (::fstatat(directory.fd.get(), name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT;
  if (!same_file(now, seen)) {
    errno = 0;
    return false;
  }
  return directory.io().unlink(directory.fd.get(), name.c_str()) == 0 || errno == ENOENT;
}

}  // namespace librt::cache
