// What a forked child finds, as a text.
#pragma once

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <functional>
#include <string>

namespace librt::test {

// ThreadSanitizer does not follow a fork of a process with threads.
#ifdef __SANITIZE_THREAD__
inline constexpr bool kForksWithThreads = false;
#else
inline constexpr bool kForksWithThreads = true;
#endif

// Nor does the allocator of AddressSanitizer in g++ 12 survive a fork in which another thread holds its lock.
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kForksWhileThreadsAllocate = false;
#else
inline constexpr bool kForksWhileThreadsAllocate = kForksWithThreads;
#endif

/// Whether a test that forks a process with threads can run here; if not, this says so.
inline bool can_fork_with_threads() {
  if (!kForksWithThreads) WARN("skipped: ThreadSanitizer does not follow a fork of a process with threads");
  return kForksWithThreads;
}

/// The same where the other threads allocate.
inline bool can_fork_while_threads_allocate() {
  if (!kForksWhileThreadsAllocate) WARN("skipped: the sanitizer's allocator does not survive a fork of busy threads");
  return kForksWhileThreadsAllocate;
}

/// Runs `body` in a forked child. "" if it returned "", else what it returned, or how the child ended: a deadlock ends
/// by SIGALRM.
inline std::string in_child(const std::function<std::string()>& body) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    std::signal(SIGALRM, SIG_DFL);
    ::alarm(30);
    std::string wrong;
    try {
      wrong = body();
    } catch (const std::exception& error) {
      wrong = std::string("threw ") + error.what();
    }
    const ssize_t written = ::write(ends[1], wrong.data(), wrong.size());
    ::_exit(written == static_cast<ssize_t>(wrong.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string wrong;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    wrong.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) return fmt::format("the child was ended by signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return fmt::format("the child exited with {}", WEXITSTATUS(status));
  return wrong;
}

}  // namespace librt::test
