#include "src/cache/key_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "src/util/per_process.hpp"

namespace librt::cache {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{5};
constexpr milliseconds kLongestPause{50};

/// False if the locked file is not the one that others would open now.
bool still_named(const Directory& directory, const std::string& name, int fd) {
  struct stat locked {};
  struct stat named {};
  return directory.io().fstat(fd, &locked) == 0 &&
         ::fstatat(directory.fd.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         locked.st_dev == named.st_dev && locked.st_ino == named.st_ino;
}

}  // namespace

FileLock::FileLock(util::UniqueFd fd, IoOps& io) noexcept
    : fd_(std::move(fd)), io_(&io), generation_(util::process_generation()) {}

FileLock::~FileLock() {
  if (fd_ && generation_ == util::process_generation()) io_->flock(fd_.get(), LOCK_UN);
}

LockResult lock_file(const Directory& directory, const std::string& name, milliseconds timeout) {
  IoOps& io = directory.io();
  LockResult result;
  milliseconds pause = kFirstPause;
  // Not a clock but the sum of the pauses: a process that was stopped has not waited.
  while (true) {
    auto opened = open_shared_file(directory, name);
    if (const auto* problem = std::get_if<Problem>(&opened)) {
      result.degraded = problem->reason;
      return result;
    }
    util::UniqueFd fd = std::get<util::UniqueFd>(std::move(opened));
    while (io.flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno != EWOULDBLOCK) {
        result.degraded = fmt::format("cannot lock {}/{}: {}", directory.path, name, util::error_text(errno));
        return result;
      }
      if (result.waited >= timeout) {
        result.busy = true;
        result.degraded =
            fmt::format("{}/{} was locked by another process for {} ms", directory.path, name, result.waited.count());
        return result;
      }
      const milliseconds now = std::min(pause, timeout - result.waited);
      io.sleep(now);
      result.waited += now;
      pause = std::min(2 * pause, kLongestPause);
    }
    FileLock lock(std::move(fd), io);
    if (still_named(directory, name, lock.fd())) {
      result.lock.emplace(std::move(lock));
      return result;
    }
    // Its file was swept meanwhile. Somebody who sweeps again and again would cost time, not correctness.
    result.waited += milliseconds{1};
    if (result.waited > timeout) {
      result.degraded = fmt::format("{}/{} was replaced while it was locked", directory.path, name);
      return result;
    }
  }
}

std::string lock_name(const util::Digest& key) {
  return util::to_hex(std::span(key).first(8)) + ".lock";
}

}  // namespace librt::cache
