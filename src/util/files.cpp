#include "src/util/files.hpp"

#include <librt/error.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "src/util/whole_io.hpp"
#include "src/util/write_signals.hpp"

namespace librt::util {
namespace {

[[noreturn]] void fail(const char* what, const std::string& path, const std::string& reason) {
  throw Error(ErrorCode::io, fmt::format("cannot {} {}: {}", what, path, reason));
}

/// Container: a vector of bytes or a string.
template <class Container>
Container read_whole(const std::string& path, std::size_t max_bytes) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not wait.
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) fail("read", path, error_text(errno));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) fail("read", path, error_text(errno));
  if (S_ISDIR(status.st_mode)) fail("read", path, "it is a directory");
  if (!S_ISREG(status.st_mode)) fail("read", path, "it is not a regular file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > max_bytes) fail("read", path, fmt::format("it has {} bytes; at most {} are allowed", size, max_bytes));
  Container contents(static_cast<std::size_t>(size), typename Container::value_type{});
  std::size_t got = 0;
  if (const int error = read_full(fd.get(), std::as_writable_bytes(std::span(contents)), got)) {
    fail("read", path, error_text(error));
  }
  if (got != size) fail("read", path, fmt::format("it shrank from {} to {} bytes meanwhile", size, got));
  return contents;
}

/// Where a rename has to go so that symbolic links on the way stay.
std::string resolve_links(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr), &std::free);
  return resolved ? std::string(resolved.get()) : path;
}

void write_in_place(const std::string& path, std::span<const std::byte> bytes) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) fail("write", path, error_text(errno));
  if (const int error = write_full(fd.get(), bytes)) fail("write", path, error_text(error));
}

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};

int write_synced(int fd, std::span<const std::byte> bytes, const struct stat* replaced) noexcept {
  if (replaced != nullptr && ::fchmod(fd, replaced->st_mode & 07777) != 0) return errno;
  if (const int error = write_full(fd, bytes)) return error;
  return ::fsync(fd) != 0 ? errno : 0;
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) ::close(fd_);
}

UniqueFd::UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

int UniqueFd::release() noexcept {
  return std::exchange(fd_, -1);
}

int read_full(int fd, std::span<std::byte> out, std::size_t& got) noexcept {
  return read_until_full([fd](void* to, std::size_t bytes) { return ::read(fd, to, bytes); }, out, got);
}

int write_full(int fd, std::span<const std::byte> bytes) noexcept {
  const WriteSignalsBlocked blocked;
  return write_until_done([fd](const void* from, std::size_t count) { return ::write(fd, from, count); }, bytes);
}

std::string error_text(int error) {
  return std::generic_category().message(error);
}

std::string temporary_name() {
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof random)) {
    fail("name", "a temporary file", error_text(errno));
  }
  return fmt::format("{}-{:016x}.tmp", ::getpid(), random);
}

std::vector<std::byte> read_file(const std::string& path, std::size_t max_bytes) {
  return read_whole<std::vector<std::byte>>(path, max_bytes);
}

std::string read_text_file(const std::string& path, std::size_t max_bytes) {
  return read_whole<std::string>(path, max_bytes);
}

std::vector<std::string> names_in(const std::string& directory) {
  // std::filesystem's iterator ends the process where memory runs out.
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseDirectory> open(::opendir(directory.c_str()));
  while (open != nullptr) {
    const dirent* const entry = ::readdir(open.get());
    if (entry == nullptr) break;
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  struct stat existing {};
  const bool exists = ::stat(path.c_str(), &existing) == 0;
  if (exists && S_ISDIR(existing.st_mode)) fail("write", path, "it is a directory");
  // Renaming over a device would replace the device.
  if (exists && !S_ISREG(existing.st_mode)) return write_in_place(path, bytes);

  const std::string target = exists ? resolve_links(path) : path;
  const std::string temporary = fmt::format("{}.{}", target, temporary_name());
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) fail("write", path, error_text(errno));
  int error = write_synced(fd.get(), bytes, exists ? &existing : nullptr);
  if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail("write", path, error_text(error));
  }
}

}  // namespace librt::util
