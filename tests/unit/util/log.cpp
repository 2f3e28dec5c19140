#include "src/util/log.hpp"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/util/files.hpp"
#include "tests/support/in_child.hpp"
#include "tests/support/temp_dir.hpp"

using namespace librt;

TEST_CASE("messages below the level do not reach the sink", "[util][log]") {
  std::vector<std::pair<LogLevel, std::string>> received;
  const util::Log log([&](LogLevel level, std::string_view text) { received.emplace_back(level, text); },
                      LogLevel::warn);
  log(LogLevel::debug, "a");
  log(LogLevel::info, "b");
  log(LogLevel::warn, "c");
  log(LogLevel::error, "d");
  CHECK(received == std::vector<std::pair<LogLevel, std::string>>{{LogLevel::warn, "c"}, {LogLevel::error, "d"}});
  CHECK_FALSE(log.enabled(LogLevel::info));
  CHECK(log.enabled(LogLevel::warn));
}

TEST_CASE("what a sink throws goes no further", "[util][log]") {
  int calls = 0;
  const util::Log log(
      [&](LogLevel, std::string_view) {
        ++calls;
        throw std::runtime_error("sink");
      },
      LogLevel::debug);
  log(LogLevel::error, "one");
  log(LogLevel::error, "two");
  CHECK(calls == 2);
}

TEST_CASE("without a sink messages go to stderr, with the names that LIBRT_LOG takes", "[util][log]") {
  const test::TempDir directory;
  const std::string path = directory / "stderr";
  {
    const util::UniqueFd saved(::dup(STDERR_FILENO));
    const util::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600));
    REQUIRE(file);
    ::dup2(file.get(), STDERR_FILENO);
    const util::Log log({}, LogLevel::info);
    log(LogLevel::debug, "not this");
    log(LogLevel::warn, "100% {} of it");
    log(LogLevel::warn, "\x1b[31mred" + std::string(200'000, 'A'));
    ::dup2(saved.get(), STDERR_FILENO);
  }
  const std::string text = util::read_text_file(path, 20'000);  // and no more: what is long is cut
  CHECK_THAT(text, Catch::Contains("librt warn: \\x1b[31mredAAA") && !Catch::Contains("\x1b"));
  CHECK_THAT(text, Catch::Contains("librt warn: 100% {} of it\n"));
  CHECK_THAT(text, !Catch::Contains("not this"));
}

TEST_CASE("a child that is forked while another thread writes a message can write its own", "[util][log]") {
  if (!test::can_fork_while_threads_allocate()) return;
  const util::UniqueFd saved(::dup(STDERR_FILENO));
  const util::UniqueFd nowhere(::open("/dev/null", O_WRONLY));
  REQUIRE(nowhere);
  ::dup2(nowhere.get(), STDERR_FILENO);
  const util::Log log({}, LogLevel::debug);
  std::atomic<bool> done{false};
  std::jthread writing([&] {
    while (!done) log(LogLevel::error, "a message");
  });
  std::string wrong;
  for (int i = 0; i < 50 && wrong.empty(); ++i) {
    wrong = test::in_child([&] {
      log(LogLevel::error, "the child's");
      return "";
    });
  }
  done = true;
  writing.join();
  ::dup2(saved.get(), STDERR_FILENO);
  CHECK(wrong == "");
}
