// The tool where its streams are closed, full or read by nobody: the work is done, and the exit code tells how it went.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>

#include "tests/cli/batch.hpp"
#include "tests/cli/process.hpp"

using librt::test::Batch;
using librt::test::Tool;

namespace {

using Prepare = std::function<void()>;

void point(int descriptor, const std::string& path) {
  const int opened = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(99);
  ::close(opened);
}

/// A pipe whose reader is gone.
void break_pipe(int descriptor) {
  int ends[2];
  if (::pipe(ends) != 0) ::_exit(99);
  ::close(ends[0]);
  if (::dup2(ends[1], descriptor) < 0) ::_exit(99);
  ::close(ends[1]);
}

/// Runs the tool after `prepare` has changed its descriptors: the exit code, or 128 + the signal that ended it.
int exit_code_of(const Tool& tool, std::vector<std::string> words, const Prepare& prepare,
                 const librt::test::Variables& variables = {}) {
  words.insert(words.begin(), LIBRT_TOOL);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("LIBRT_CACHE_DIR", tool.cache().c_str(), 1);
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    point(STDOUT_FILENO, tool.file("stdout"));
    point(STDERR_FILENO, tool.file("stderr"));
    prepare();
    ::execv(LIBRT_TOOL, pointers.data());
    ::_exit(98);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string said(const Tool& tool) {
  return librt::test::read_text(tool.file("stderr"));
}

const std::vector<std::pair<std::string, Prepare>> kNoStderr = {
    {"full", [] { point(STDERR_FILENO, "/dev/full"); }},
    {"closed", [] { ::close(STDERR_FILENO); }},
    {"all closed",
     [] {
       for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(descriptor);
     }},
    {"read by nobody", [] { break_pipe(STDERR_FILENO); }}};

}  // namespace

TEST_CASE("cli: a stderr that takes nothing ends no work", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  const std::string in = tool.file("streams.safetensors");
  const std::string out = tool.file("streams-out.safetensors");
  Batch(librt::test::gqa_shape(), {13, 6}, 5).file().write(in);
  // In debug mode the library's log says much, too.
  const librt::test::Variables variables{{"LIBRT_LOG", "debug"}};
  REQUIRE(exit_code_of(
              tool, {"run", in, "-o", out, "--device", "virtual"}, [] {}, variables) == 0);
  const auto expected = librt::test::read_output(out).bits;
  for (const auto& [how, prepare] : kNoStderr) {
    CAPTURE(how);
    std::filesystem::remove(out);
    CHECK(exit_code_of(tool, {"run", in, "-o", out, "--device", "virtual"}, prepare, variables) == 0);
    CHECK(librt::test::read_output(out).bits == expected);
    CHECK(exit_code_of(tool, {"cache", "gc"}, prepare) == 0);
    CHECK(exit_code_of(tool, {"check", tool.file("absent")}, prepare) == 1);
    CHECK(exit_code_of(tool, {"run", tool.file("absent"), "-o", out}, prepare) == 1);
    CHECK(exit_code_of(tool, {"frobnicate"}, prepare) == 2);
    CHECK(exit_code_of(tool, {"doctor"}, prepare, {{"LIBRT_LOG", "loud"}}) == 2);
    CHECK(exit_code_of(tool, {"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", "sm_80"},
                       prepare, {{"LIBRT_NVRTC", "/nonexistent"}, {"LIBRT_CACHE_MODE", "off"}}) == 3);
  }
  // What was said with descriptor 2 closed went into no file of the cache.
  CHECK(exit_code_of(tool, {"cache", "verify"}, [] {}) == 0);
}

TEST_CASE("cli: a stdout that takes nothing is a problem, and said", "[cli]") {
  const Tool tool;
  const std::vector<std::pair<std::string, Prepare>> no_stdout = {
      {"No space left on device", [] { point(STDOUT_FILENO, "/dev/full"); }},
      {"Bad file descriptor", [] { ::close(STDOUT_FILENO); }},
      {"Broken pipe", [] {
         std::signal(SIGPIPE, SIG_IGN);  // as under a service manager
         break_pipe(STDOUT_FILENO);
       }}};
  for (const auto& [reason, prepare] : no_stdout) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"--help"}, {"--version"}, {"run", "--help"}, {"cache", "ls", "--json"}}) {
      CAPTURE(words);
      CHECK(exit_code_of(tool, words, prepare) == 1);
      CHECK_THAT(said(tool), Catch::Contains("the output could not be written: " + reason));
    }
  }
}

TEST_CASE("cli: a reader of stdout that has seen enough ends the tool quietly", "[cli]") {
  const Tool tool;
  CHECK(exit_code_of(tool, {"--help"}, [] { break_pipe(STDOUT_FILENO); }) == 128 + SIGPIPE);
  CHECK(said(tool).empty());
}

TEST_CASE("cli: a standard descriptor that was closed is taken before a file of the work can land on it", "[cli]") {
  const Tool tool;
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    CAPTURE(descriptor);
    const std::string path = fmt::format("/proc/self/fd/{}", descriptor);
    const bool json = descriptor != STDOUT_FILENO;  // where the answer can be read
    std::vector<std::string> words{"run", path, "-o", tool.file("out.safetensors")};
    if (json) words.emplace_back("--json");
    CHECK(exit_code_of(tool, words, [&] { ::close(descriptor); }) == 1);
    CHECK_THAT(librt::test::read_text(tool.file(json ? "stdout" : "stderr")),
               Catch::Contains("cannot read " + path + ": it is not a regular file"));
  }
}
