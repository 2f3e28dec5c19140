// The system calls that a store makes and that can fail, behind one interface: tests make them fail, stop or lie.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace librt::cache {

/// Each call is the system call of its name, errno included. Thread safe.
class IoOps {
 public:
  virtual ~IoOps() = default;

  virtual int open(int directory, const char* name, int flags, mode_t mode);
  virtual int mkdir(int directory, const char* name, mode_t mode);
  virtual ssize_t read(int fd, void* to, std::size_t bytes);
  virtual ssize_t write(int fd, const void* from, std::size_t bytes);
  virtual int fsync(int fd);
  virtual int rename(int from_directory, const char* from, int to_directory, const char* to);
  virtual int unlink(int directory, const char* name);
  virtual int fstat(int fd, struct stat* status);
  virtual int flock(int fd, int operation);

  /// Seconds since 1970.
  virtual std::int64_t now();
  /// What tells how long something took: never goes back, begins anywhere.
  virtual std::chrono::milliseconds clock();
  /// While another process holds a lock.
  virtual void sleep(std::chrono::milliseconds duration);
};

/// The system's own.
IoOps& system_io() noexcept;

/// Until all is read or the file ends; interrupted and short reads go on. Returns 0 or errno.
int read_all(IoOps& io, int fd, std::span<std::byte> out, std::size_t& got);
/// All of it; interrupted and short writes go on. Returns 0 or errno.
int write_all(IoOps& io, int fd, std::span<const std::byte> bytes);

}  // namespace librt::cache
