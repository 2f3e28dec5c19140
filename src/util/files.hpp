// Whole files in and out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace librt::util {

/// Closes on destruction; -1 = none.
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) noexcept : fd_(fd) {}
  ~UniqueFd();
  UniqueFd(UniqueFd&& other) noexcept;
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  int get() const noexcept { return fd_; }
  int release() noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

/// Reads until `out` is full or the file ends; interrupted and short reads go on. Returns 0 or errno; `got` is set
/// in any case.
int read_full(int fd, std::span<std::byte> out, std::size_t& got) noexcept;
/// Writes all of `bytes`; interrupted and short writes go on. Returns 0 or errno, EFBIG and EPIPE among them: no signal
/// comes with these.
int write_full(int fd, std::span<const std::byte> bytes) noexcept;
/// What an errno means, in words.
std::string error_text(int error);
/// "<pid>-<16 hex digits>.tmp": a name that no other process and no other call has.
std::string temporary_name();

/// A regular file, read from its beginning. Everything throws Error(io) that names the path and the reason.
class InputFile {
 public:
  explicit InputFile(std::string path);
  std::uint64_t size() const noexcept { return size_; }
  /// The next bytes, as many as `out` holds; a file that ends before them has shrunk since it was opened.
  void read(std::span<std::byte> out);

 private:
  std::string path_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;
};

/// Reads a regular file of at most `max_bytes`. Throws Error(io) that names the path and the reason.
std::vector<std::byte> read_file(const std::string& path, std::size_t max_bytes);
std::string read_text_file(const std::string& path, std::size_t max_bytes);

/// Names in a directory but "." and "..", sorted; none where it cannot be read.
std::vector<std::string> names_in(const std::string& directory);

/// Writes beside `path`, syncs and renames, so that the file is whole or absent. A symbolic link stays one, and its
/// target is replaced; what is neither absent nor a regular file (a pipe, /dev/stdout) is written to as it is.
/// Throws Error(io).
void write_file(const std::string& path, std::span<const std::byte> bytes);
/// As write_file(), for a path at which nothing is yet; what is there, a dangling link too, is an Error(io).
void write_new_file(const std::string& path, std::span<const std::byte> bytes);
/// Throws Error(io) if write_file() could not begin now: makes the file that it would rename, and removes it.
void require_writable(const std::string& path);

}  // namespace librt::util
