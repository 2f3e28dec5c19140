#include "src/util/write_signals.hpp"

#include <array>
#include <cerrno>
#include <ctime>

namespace librt::util {
namespace {

constexpr std::array kWriteSignals = {SIGXFSZ, SIGPIPE};

}  // namespace

WriteSignalsBlocked::WriteSignalsBlocked() noexcept {
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : kWriteSignals) sigaddset(&blocked, signal);
  pthread_sigmask(SIG_BLOCK, &blocked, &mask_before_);
  sigpending(&pending_before_);
}

WriteSignalsBlocked::~WriteSignalsBlocked() {
  const int error = errno;
  sigset_t pending;
  sigpending(&pending);
  for (const int signal : kWriteSignals) {
    if (sigismember(&pending, signal) != 1 || sigismember(&pending_before_, signal) == 1) continue;
    sigset_t raised;
    sigemptyset(&raised);
    sigaddset(&raised, signal);
    constexpr timespec kAtOnce{0, 0};
    while (sigtimedwait(&raised, nullptr, &kAtOnce) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  errno = error;
}

}  // namespace librt::util
