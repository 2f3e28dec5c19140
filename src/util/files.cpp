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
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "src/util/text.hpp"
#include "src/util/whole_io.hpp"
#include "src/util/write_signals.hpp"

namespace librt::util {
namespace {

/// Longer than the paths of any sane machine, and short enough for a message.
std::string shown_path(const std::string& path) {
  return shown(path, 1024);
}

[[noreturn]] void fail(const char* what, const std::string& path, const std::string& reason) {
  throw Error(ErrorCode::io, fmt::format("cannot {} {}: {}", what, shown_path(path), reason));
}

/// Container: a vector of bytes or a string.
template <class Container>
Container read_whole(const std::string& path, std::size_t max_bytes) {
  InputFile file(path);
  if (file.size() > max_bytes) {
    fail("read", path, fmt::format("it has {} bytes; at most {} are allowed", file.size(), max_bytes));
  }
  Container contents(static_cast<std::size_t>(file.size()), typename Container::value_type{});
  file.read(std::as_writable_bytes(std::span(contents)));
  return contents;
}

/// Where a rename has to go so that symbolic links stay, also one to a file that is not there yet.
std::string resolve_links(const std::string& path) {
  constexpr int kMostLinks = 40;  // the kernel's bound
  std::filesystem::path at(path);
  std::error_code error;
  for (int links = 0; std::filesystem::is_symlink(at, error); ++links) {
    if (links == kMostLinks) fail("write", path, error_text(ELOOP));
    at = at.parent_path() / std::filesystem::read_symlink(at, error);
  }
  return at.string();
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

/// The file that is written beside `path` and renamed to it; removed if that does not happen.
class Replacement {
 public:
  explicit Replacement(const std::string& path) : path_(path) {
    const bool exists = ::stat(path.c_str(), &replaced_) == 0;
    if (exists && S_ISDIR(replaced_.st_mode)) fail("write", path, "it is a directory");
    in_place_ = exists && !S_ISREG(replaced_.st_mode);  // renaming over a device would replace the device
    if (in_place_) return;
    replaces_ = exists;
    target_ = resolve_links(path);
    temporary_ = fmt::format("{}.{}", target_, temporary_name());
    fd_ = UniqueFd(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!fd_) fail("write", path, error_text(errno));
  }
  ~Replacement() {
    if (fd_) ::unlink(temporary_.c_str());
  }
  Replacement(const Replacement&) = delete;
  Replacement& operator=(const Replacement&) = delete;

  bool in_place() const { return in_place_; }

  void write(std::span<const std::byte> bytes) {
    int error = write_synced(fd_.get(), bytes, replaces_ ? &replaced_ : nullptr);
    if (error == 0 && ::rename(temporary_.c_str(), target_.c_str()) != 0) error = errno;
    if (error != 0) fail("write", path_, error_text(error));
    fd_ = UniqueFd();
  }

 private:
  const std::string& path_;
  struct stat replaced_ {};
  bool in_place_ = false;
  bool replaces_ = false;
  std::string target_;
  std::string temporary_;
  UniqueFd fd_;
};

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

InputFile::InputFile(std::string path)
    : path_(std::move(path)),
      // O_NONBLOCK: opening a pipe that nobody writes to must not wait.
      fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (!fd_) fail("read", path_, error_text(errno));
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) fail("read", path_, error_text(errno));
  if (S_ISDIR(status.st_mode)) fail("read", path_, "it is a directory");
  if (!S_ISREG(status.st_mode)) fail("read", path_, "it is not a regular file");
  size_ = static_cast<std::uint64_t>(status.st_size);
}

void InputFile::read(std::span<std::byte> out) {
  std::size_t got = 0;
  if (const int error = read_full(fd_.get(), out, got)) fail("read", path_, error_text(error));
  if (got != out.size()) fail("read", path_, fmt::format("it had {} bytes, and shrank meanwhile", size_));
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  Replacement replacement(path);
  if (replacement.in_place()) return write_in_place(path, bytes);
  replacement.write(bytes);
}

void write_new_file(const std::string& path, std::span<const std::byte> bytes) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (!fd) fail("write", path, error_text(errno));
  const int error = write_synced(fd.get(), bytes, nullptr);
  if (error == 0) return;
  ::unlink(path.c_str());
  fail("write", path, error_text(error));
}

void require_writable(const std::string& path) {
  const Replacement replacement(path);
  if (replacement.in_place() && ::access(path.c_str(), W_OK) != 0) fail("write", path, error_text(errno));
}

}  // namespace librt::util
