// One compile among the processes of a directory: a lock for each key, which saves work and is never needed.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "src/cache/directory.hpp"

namespace librt::cache {

/// flock on a file: it dies with its holder, so that a file without a holder means nothing. Released explicitly: a
/// forked child that inherited the descriptor would otherwise keep it. In such a child the destructor only closes.
class FileLock {
 public:
  FileLock(util::UniqueFd fd, IoOps& io) noexcept;
  ~FileLock();
  FileLock(FileLock&& other) noexcept = default;
  FileLock& operator=(FileLock&&) = delete;

  int fd() const noexcept { return fd_.get(); }

 private:
  util::UniqueFd fd_;
  IoOps* io_;
  unsigned generation_;
};

struct LockResult {
  std::optional<FileLock> lock{};
  std::string degraded{};  // why there is none: the caller goes on without
  bool busy = false;       // ... because another process kept it
  std::chrono::milliseconds waited{0};
};

/// Asks again after 5 to 50 ms until `timeout` is over; 0 = asks once. A file that was removed or replaced before it
/// was locked is opened anew.
LockResult lock_file(const Directory& directory, const std::string& name, std::chrono::milliseconds timeout);

/// The name of a key's lock.
std::string lock_name(const util::Digest& key);
inline constexpr const char* kCollectorLock = "gc.lock";

}  // namespace librt::cache
