#include "src/cache/io_ops.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <thread>

#include "src/util/whole_io.hpp"
#include "src/util/write_signals.hpp"

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
  const util::WriteSignalsBlocked blocked;
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

std::chrono::milliseconds IoOps::clock() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(steady_clock::now().time_since_epoch());
}

void IoOps::sleep(std::chrono::milliseconds duration) {
  std::this_thread::sleep_for(duration);
}

IoOps& system_io() noexcept {
  // Never destroyed: a Runtime in a static object may end after it.
  static IoOps& io = *new IoOps;
  return io;
}

int read_all(IoOps& io, int fd, std::span<std::byte> out, std::size_t& got) {
  return util::read_until_full([&](void* to, std::size_t bytes) { return io.read(fd, to, bytes); }, out, got);
}

int write_all(IoOps& io, int fd, std::span<const std::byte> bytes) {
  return util::write_until_done([&](const void* from, std::size_t count) { return io.write(fd, from, count); }, bytes);
}

}  // namespace librt::cache
