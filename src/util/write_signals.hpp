// A write that fails with an errno and nothing else.
#pragma once

#include <signal.h>

namespace librt::util {

/// While one lives, a write of the calling thread past a file size limit or into a pipe that nobody reads fails with
/// EFBIG or EPIPE, and the signal that the kernel sends along (SIGXFSZ, SIGPIPE), which ends a process by default,
/// comes to nothing. What the process does about these signals otherwise is not touched: they are blocked in this
/// thread alone, and what was pending before stays so. To be destroyed by the thread that made it. Keeps errno.
class WriteSignalsBlocked {
 public:
  WriteSignalsBlocked() noexcept;
  ~WriteSignalsBlocked();
  WriteSignalsBlocked(const WriteSignalsBlocked&) = delete;
  WriteSignalsBlocked& operator=(const WriteSignalsBlocked&) = delete;

 private:
  sigset_t mask_before_;
  sigset_t pending_before_;
};

}  // namespace librt::util
