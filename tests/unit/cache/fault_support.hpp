// What the tests of the fault matrix share: system calls that fail on demand, a compiler that is none, processes.
#pragma once

#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "src/cache/cache.hpp"
#include "tests/unit/cache/fake_compiler.hpp"
#include "tests/unit/cache/sample.hpp"

namespace librt::test {

namespace fs = std::filesystem;

/// Each hook replaces the call of its name and may go on to it by `real`.
struct IoHooks : cache::IoOps {
  cache::IoOps real;
  std::function<int(int, const char*, int, mode_t)> on_open;
  std::function<int(int, const char*, mode_t)> on_mkdir;
  std::function<ssize_t(int, const void*, std::size_t)> on_write;
  std::function<int(int)> on_fsync;
  std::function<int(int, const char*, int, const char*)> on_rename;
  std::function<int(int, const char*)> on_unlink;
  std::function<int(int, struct stat*)> on_fstat;
  std::function<int(int, int)> on_flock;
  std::function<std::chrono::milliseconds()> on_clock;
  std::function<void(std::chrono::milliseconds)> on_sleep;

  int open(int directory, const char* name, int flags, mode_t mode) override {
    return on_open ? on_open(directory, name, flags, mode) : real.open(directory, name, flags, mode);
  }
  int mkdir(int directory, const char* name, mode_t mode) override {
    return on_mkdir ? on_mkdir(directory, name, mode) : real.mkdir(directory, name, mode);
  }
  ssize_t write(int fd, const void* from, std::size_t bytes) override {
    return on_write ? on_write(fd, from, bytes) : real.write(fd, from, bytes);
  }
  int fsync(int fd) override { return on_fsync ? on_fsync(fd) : real.fsync(fd); }
  int rename(int from_directory, const char* from, int to_directory, const char* to) override {
    return on_rename ? on_rename(from_directory, from, to_directory, to)
                     : real.rename(from_directory, from, to_directory, to);
  }
  int unlink(int directory, const char* name) override {
    return on_unlink ? on_unlink(directory, name) : real.unlink(directory, name);
  }
  int fstat(int fd, struct stat* status) override { return on_fstat ? on_fstat(fd, status) : real.fstat(fd, status); }
  int flock(int fd, int operation) override { return on_flock ? on_flock(fd, operation) : real.flock(fd, operation); }
  std::chrono::milliseconds clock() override { return on_clock ? on_clock() : real.clock(); }
  void sleep(std::chrono::milliseconds duration) override { on_sleep ? on_sleep(duration) : real.sleep(duration); }
};

inline int fail_with(int error) {
  errno = error;
  return -1;
}

/// A directory, and caches on it.
struct FaultFixture {
  TempDir directory;
  std::string root = directory / "cache";
  IoHooks io;
  std::mutex mutex;
  std::vector<std::string> warnings;

  util::Log log() {
    return {[this](LogLevel, std::string_view text) {
              const std::lock_guard lock(mutex);
              warnings.emplace_back(text);
            },
            LogLevel::warn};
  }
  cache::TiersOptions options() {
    return {.root = root, .store = {.fsync = false, .io = &io}, .lock_timeout = std::chrono::seconds(20)};
  }
  std::unique_ptr<EntryCache> open(const cache::TiersOptions& options) { return open_fake(options, log()); }
  std::unique_ptr<EntryCache> open() { return open(options()); }

  std::string path_of(const FakeRequest& request) { return cache::Store(root, log(), {}).path_of(request.key); }
  std::string temporaries() const { return root + "/v1/tmp"; }
  std::size_t files_in(const std::string& name) const { return files_below(root + "/v1/" + name); }
  /// What a fresh process would see.
  std::vector<cache::StoredFile> scan() { return cache::Store(root, log(), {}).scan(); }
  cache::Counts totals() const { return cache::read_totals(root, {}).counts; }
};

/// Starts a child that ends with the result of `body`.
inline pid_t start_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child != 0) return child;
  int result = 99;
  try {
    result = body();
  } catch (...) {  // NOLINT(bugprone-empty-catch): the parent sees 99
  }
  ::_exit(result);
}

/// The exit status; 128 + the signal that ended it.
inline int wait_for(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

inline int in_child(const std::function<int()>& body) {
  return wait_for(start_child(body));
}

/// Waits until something is so, at most ten seconds.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    ::usleep(5000);
  }
  return false;
}

}  // namespace librt::test
