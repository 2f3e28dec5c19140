#include "src/util/write_signals.hpp"

#include <librt/error.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "src/util/files.hpp"
#include "src/util/log.hpp"
#include "tests/support/in_child.hpp"
#include "tests/support/temp_dir.hpp"

using namespace librt;
using test::in_child;

namespace {

const std::string kText(1000, 'x');

std::span<const std::byte> text() {
  return std::as_bytes(std::span(kText));
}

/// As a shell starts a process.
void default_signals() {
  std::signal(SIGXFSZ, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
}

void limit_files(rlim_t bytes) {
  const rlimit limit{bytes, bytes};
  if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) throw std::runtime_error("setrlimit");
}

bool is_pending(int signal) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

/// "" if the thread is as default_signals() left it.
std::string what_changed() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  for (const int signal : {SIGXFSZ, SIGPIPE}) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_DFL) return fmt::format("the action of signal {}", signal);
    if (sigismember(&mask, signal) != 0) return fmt::format("signal {} is blocked", signal);
    if (is_pending(signal)) return fmt::format("signal {} is pending", signal);
  }
  return "";
}

}  // namespace

TEST_CASE("a write past the file size limit fails with EFBIG, and nothing else happens", "[util][files]") {
  const test::TempDir dir;
  const std::string path = dir / "file";
  CHECK(in_child([&]() -> std::string {
          default_signals();
          limit_files(100);
          const util::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
          if (const int error = util::write_full(fd.get(), text()); error != EFBIG) return fmt::format("{}", error);
          return what_changed();
        }) == "");
  CHECK(in_child([&]() -> std::string {
          default_signals();
          limit_files(100);
          try {
            util::write_file(path, text());
          } catch (const Error& error) {
            return error.what();
          }
          return "written";
        }) == "cannot write " + path + ": File too large");
}

TEST_CASE("a write into a pipe that nobody reads fails with EPIPE, and nothing else happens", "[util][files]") {
  CHECK(in_child([]() -> std::string {
          default_signals();
          int ends[2];
          if (::pipe(ends) != 0) return "no pipe";
          ::close(ends[0]);
          if (const int error = util::write_full(ends[1], text()); error != EPIPE) return fmt::format("{}", error);
          return what_changed();
        }) == "");
}

TEST_CASE("a signal that was pending before a write stays so", "[util][files]") {
  const test::TempDir dir;
  CHECK(in_child([&]() -> std::string {
          sigset_t blocked;
          sigemptyset(&blocked);
          sigaddset(&blocked, SIGXFSZ);
          pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
          limit_files(100);
          const util::UniqueFd fd(::open((dir / "file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
          if (util::write_full(fd.get(), text()) != EFBIG) return "written";
          if (is_pending(SIGXFSZ)) return "the write's own is left";
          std::raise(SIGXFSZ);
          if (util::write_full(fd.get(), text()) != EFBIG) return "written";
          return is_pending(SIGXFSZ) ? "" : "the caller's is gone";
        }) == "");
}

TEST_CASE("a log line that stderr cannot take ends no process", "[util][log]") {
  const test::TempDir dir;
  CHECK(in_child([&]() -> std::string {
          default_signals();
          limit_files(0);
          const int fd = ::open((dir / "log").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
          ::dup2(fd, STDERR_FILENO);
          util::Log({}, LogLevel::warn)(LogLevel::warn, "something");
          int ends[2];
          if (::pipe(ends) != 0) return "no pipe";
          ::close(ends[0]);
          ::dup2(ends[1], STDERR_FILENO);
          util::Log({}, LogLevel::warn)(LogLevel::warn, "something");
          return what_changed();
        }) == "");
}
