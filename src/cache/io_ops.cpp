#include "src/cache/io_ops.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <thread>

namespace librt::cache {

int IoOps::open(int directory, const char* name, int flags, mode_t mode) {
  return ::openat(directory, name, flags, mode);
}

int IoOps::mkdir(int directory, const char* name, mode_t mode) {
  return ::mkdirat(directory, name, mode);
}

ssize_t IoOps::read(int fd, void* to, std::size_t bytes) {
  return ::read(fd, to, bytes);
}

ssize_t IoOps::write(int fd, const void* from, std::size_t bytes) {
  return ::write(fd, from, bytes);
}

int IoOps::fsync(int fd) {
  return ::fsync(fd);
}

int IoOps::rename(int from_directory, const char* from, int to_directory, const char* to) {
  return ::renameat(from_directory, from, to_directory, to);
}

int IoOps::unlink(int directory, const char* name) {
  return ::unlinkat(directory, name, 0);
}

int IoOps::fstat(int fd, struct stat* status) {
  return ::fstat(fd, status);
}

int IoOps::flock(int fd, int operation) {
  return ::flock(fd, operation);
}

std::int64_t IoOps::now() {
  return std::time(nullptr);
}

void IoOps::sleep(std::chrono::milliseconds duration) {
  std::this_thread::sleep_for(duration);
}

IoOps& system_io() noexcept {
  static IoOps io;
  return io;
}

int read_all(IoOps& io, int fd, std::span<std::byte> out, std::size_t& got) {
  got = 0;
  while (got < out.size()) {
    const ssize_t count = io.read(fd, out.data() + got, out.size() - got);
    if (count == 0) return 0;
    if (count > 0) {
      got += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

int write_all(IoOps& io, int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = io.write(fd, bytes.data(), bytes.size());
    if (count > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    } else if (count == 0) {
      return EIO;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace librt::cache
