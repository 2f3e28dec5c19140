// Processes that end while eight threads compile, with the real NVRTC: none may crash, whenever it ends.
//   exit_while_compiling COUNT      runs COUNT such processes, or as many as LIBRT_TEST_EXIT_PROCESSES says
//   exit_while_compiling child MS   is one: returns from main after MS milliseconds
#include <librt/librt.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <thread>

using namespace librt;

namespace {

constexpr int kThreads = 8;
constexpr int kLongest = 700;        // ms: loading NVRTC, its first compile and some more
constexpr unsigned kDeadline = 120;  // s: a process that hangs ends by SIGALRM

int child(int milliseconds) {
  ::alarm(kDeadline);
  Options options;
  options.device = "virtual";
  options.cache_mode = CacheMode::off;
  options.log = [](LogLevel, std::string_view) {};
  static Runtime* runtime = nullptr;
  const auto make = [&] { runtime = new Runtime(options); };
  // In half of them main has nothing to do with librt but that it ends the process.
  if (milliseconds % 2 == 0) {
    make();
  } else {
    std::thread(make).join();
  }
  for (int i = 0; i < kThreads; ++i) {
    std::thread([i] {
      for (int page_size = 1 + i;; page_size += kThreads) {
        try {
          if (i % 2 == 0) {
            runtime->get(GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = page_size});
          } else {
            runtime->compile(MlaDecodeSpec{.num_heads = 16, .page_size = page_size}, Arch{.sm = 90, .suffix = 'a'});
          }
        } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the process is exiting
        }
        if (page_size > 60000) page_size = 1 + i;
      }
    }).detach();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  return 0;
}

std::string outcome_of(const char* program, int milliseconds) {
  const std::string wait = std::to_string(milliseconds);
  const pid_t process = ::fork();
  if (process == 0) {
    ::execl(program, program, "child", wait.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  if (process < 0 || ::waitpid(process, &status, 0) != process) return "cannot be started";
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  return WEXITSTATUS(status) == 0 ? "" : "exit code " + std::to_string(WEXITSTATUS(status));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string_view(argv[1]) == "child") return child(std::atoi(argv[2]));
  if (argc != 2) {
    std::fprintf(stderr, "usage: exit_while_compiling COUNT | child MS\n");
    return 2;
  }
  const char* const wanted = std::getenv("LIBRT_TEST_EXIT_PROCESSES");
  const int count = std::atoi(wanted != nullptr ? wanted : argv[1]);
  std::map<std::string, int> bad;
  for (int i = 0; i < count; ++i) {
    // Spread over the whole range whatever the count.
    const int milliseconds = i * 263 % kLongest;
    const std::string outcome = outcome_of("/proc/self/exe", milliseconds);
    if (outcome.empty()) continue;
    ++bad[outcome];
    std::printf("process %d, ended after %d ms: %s\n", i, milliseconds, outcome.c_str());
  }
  std::printf("%d processes ended while %d threads compiled\n", count, kThreads);
  for (const auto& [outcome, times] : bad) std::printf("  %d x %s\n", times, outcome.c_str());
  return bad.empty() ? 0 : 1;
}
