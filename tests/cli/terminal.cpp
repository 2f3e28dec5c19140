// What people see: on a terminal of any width, in colour or without; and what programs get in a pipe.
#include <catch2/catch.hpp>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <thread>
#include <utility>

#include "tests/cli/terminal_session.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/table.hpp"

using namespace librt::tool;
using Catch::Contains;
using librt::test::can_make_terminal;
using librt::test::drawn_lines;
using librt::test::run_in_terminal;
using librt::test::Shown;
using librt::test::Tool;

namespace {

using Words = std::vector<std::string>;

const Words kCompile = {"compile",      "gqa_decode",   "dtype=f16", "num_qo_heads=8", "num_kv_heads=2",
                        "head_dim=128", "page_size=16", "--arch",    "compute_80"};

/// A word that is longer than a line stays whole in a message, so that it can be copied.
bool fits(const std::string& line, std::size_t columns) {
  return width_of(line) <= columns || line.find_first_of(' ', line.find_first_not_of(' ')) == std::string::npos;
}

void check_width(const Tool& tool, const Words& words, unsigned short columns, int exit_code) {
  const Shown shown = run_in_terminal(tool, words, columns);
  CAPTURE(words, columns, shown.text);
  CHECK(shown.exit_code == exit_code);
  CHECK(shown.text.size() > 1);
  for (const std::string& line : drawn_lines(shown.text)) {
    CAPTURE(line);
    CHECK(fits(line, columns));
  }
}

const Tool& filled() {
  static const bool done = [] {
    const Tool& tool = librt::test::shared_tool();
    REQUIRE(tool(kCompile).exit_code == 0);
    return true;
  }();
  REQUIRE(done);
  return librt::test::shared_tool();
}

bool steers(const std::string& text) {
  return text.find('\x1b') != std::string::npos;
}

}  // namespace

TEST_CASE("cli terminal: no line is wider than the terminal", "[cli]") {
  if (!can_make_terminal()) return;
  const Tool& tool = filled();
  const std::string key = tool({"cache", "ls", "--json"}).json()["entries"][0]["key"];
  const Words wrong = {"compile", "attention", "head_dim=64", "--arch", "sm_80"};
  const Words why = {"cache",          "why",          "gqa_decode",   "dtype=f16", "num_qo_heads=8",
                     "num_kv_heads=2", "head_dim=192", "page_size=16", "--arch",    "compute_80"};
  for (const unsigned short columns : std::initializer_list<unsigned short>{80, 40}) {
    for (const Words& words :
         {Words{"--help"}, Words{"help"}, Words{"help", "cache", "prewarm"}, Words{"cache", "--help"},
          Words{"cache", "ls"}, Words{"cache", "show", key}, why, Words{"cache", "stats"}, Words{"cache", "verify"},
          Words{"cache", "gc"}, Words{"cache", "prewarm", "--list"}, Words{"doctor"}, kCompile}) {
      check_width(tool, words, columns, 0);
    }
    for (const char* const verb : {"demo", "compile", "run", "check", "prove", "bench", "doctor"}) {
      check_width(tool, {verb, "--help"}, columns, 0);
    }
    for (const Words& words : {Words{}, Words{"frobnicate"}, wrong, Words{"cache"}})
      check_width(tool, words, columns, 2);
  }
}

TEST_CASE("cli terminal: a table is whole in a pipe, and shortened on a terminal", "[cli]") {
  if (!can_make_terminal()) return;
  const Tool& tool = filled();
  const auto piped = tool({"cache", "ls"});
  const std::string spec = "dtype=f16 head_dim=128 kv_dtype=f16 page_size=16";
  CHECK_THAT(piped.out, Contains(spec) && Contains("NVRTC"));
  CHECK_FALSE(steers(piped.out + piped.err));
  const Shown shown = run_in_terminal(tool, {"cache", "ls"}, 60);
  CHECK_THAT(shown.text, !Contains(spec) && Contains("...") && !Contains("NVRTC") && Contains("SPEC"));
  CHECK_THAT(run_in_terminal(tool, {"cache", "ls"}, 250).text, Contains(spec) && Contains("NVRTC"));
}

TEST_CASE("cli terminal: colour is for terminals that want it", "[cli]") {
  if (!can_make_terminal()) return;
  const Tool& tool = filled();
  const Words list = {"cache", "ls"};
  CHECK_THAT(run_in_terminal(tool, list, 80).text, Contains("\x1b[1mKEY\x1b[0m"));
  CHECK_FALSE(steers(run_in_terminal(tool, list, 80, {{"NO_COLOR", "1"}}).text));
  CHECK_FALSE(steers(run_in_terminal(tool, list, 80, {{"TERM", "dumb"}}).text));
  CHECK_FALSE(steers(run_in_terminal(tool, {"cache", "ls", "--json"}, 80).text));
  CHECK_THAT(run_in_terminal(tool, {"frobnicate"}, 80).text, Contains("\x1b[1;31m"));
  CHECK_FALSE(steers(tool({"frobnicate"}).err));
}

TEST_CASE("cli terminal: long work shows how far it is, in any width, and nothing in a pipe", "[cli]") {
  if (!can_make_terminal()) return;
  const std::string manifest_text =
      R"({"archs": ["compute_80"], "specs": ["gqa_decode dtype=f16 num_qo_heads=8 num_kv_heads=2 head_dim=64 page_size=16"]})";
  for (const unsigned short columns : std::initializer_list<unsigned short>{80, 40, 20}) {
    const Tool tool;
    librt::test::write_text(tool.file("m.json"), manifest_text);
    const Shown shown = run_in_terminal(tool, {"cache", "prewarm", tool.file("m.json")}, columns);
    CAPTURE(columns, shown.text);
    CHECK(shown.exit_code == 0);
    CHECK_THAT(shown.text, Contains("2/2") && Contains("\r\x1b[K"));
    for (const std::string& line : drawn_lines(shown.text)) CHECK(fits(line, columns));
  }
  const Tool tool;
  librt::test::write_text(tool.file("m.json"), manifest_text);
  CHECK_FALSE(steers(tool({"cache", "prewarm", tool.file("m.json")}).err));
  CHECK_FALSE(steers(run_in_terminal(tool, {"cache", "clear"}, 80, {{"TERM", "dumb"}}).text));
  CHECK_FALSE(steers(run_in_terminal(tool, {"cache", "prewarm", tool.file("m.json")}, 80, {{"TERM", "dumb"}}).text));
}

TEST_CASE("cli terminal: doctor is read in any width", "[cli]") {
  if (!can_make_terminal()) return;
  const Tool& tool = filled();
  for (const unsigned short columns : std::initializer_list<unsigned short>{60, 40, 24}) {
    const Shown shown = run_in_terminal(tool, {"doctor"}, columns, {{"NO_COLOR", "1"}});
    CAPTURE(columns, shown.text);
    CHECK(shown.exit_code == 0);
    // No word is cut that has room in a line of its own.
    for (const char* const word : {"256M", "16G", "default", "environment", "NVRTC", "multiprocessors"}) {
      CHECK_THAT(shown.text, Contains(word));
    }
    for (const std::string& line : drawn_lines(shown.text)) CHECK(fits(line, columns));
  }
  CHECK_THAT(run_in_terminal(tool, {"doctor"}, 40, {{"NO_COLOR", "1"}}).text,
             Contains("LIBRT_CACHE_MAX_SIZE\r\n  VALUE: 256M\r\n  FROM: default\r\n"));
}

TEST_CASE("cli terminal: one specialization's proof shows its runs", "[cli]") {
  if (!can_make_terminal()) return;
  const Words prove = {"prove",       "gqa_decode", "dtype=bf16", "num_qo_heads=4", "num_kv_heads=2", "head_dim=64",
                       "page_size=4", "--batches",  "4",          "--arch",         "sm_80"};
  Words json = prove;
  json.emplace_back("--json");
  const std::string runs = std::to_string(filled()(json).json()["results"][0]["runs"].get<int>());
  const Shown shown = run_in_terminal(filled(), prove, 100);
  CAPTURE(shown.text);
  CHECK(shown.exit_code == 0);
  CHECK_THAT(shown.text, Contains(" 1/" + runs + " ") && Contains(" 2/" + runs + " ") && Contains(" left") &&
                             Contains(" " + runs + "/" + runs + " ") && Contains("runs of gqa_decode"));
}

TEST_CASE("progress: a line fits any width, and says how long it still takes", "[cli]") {
  using std::chrono::seconds;
  Progress progress{
      .done = 3,
      .all = 46,
      .doing = "sm_90a for gqa_decode dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16",
      .elapsed = seconds(83),
      .left = seconds(3725)};
  const std::string wide = progress_line(progress, 80);
  CHECK_THAT(wide, Contains("[#" + std::string(19, '.') + "] 3/46 1:23 min, 1:02 h left") && Contains("sm_90a") &&
                       Contains("..."));
  for (std::size_t columns = 0; columns < 200; ++columns) {
    CAPTURE(columns);
    CHECK(width_of(progress_line(progress, columns)) <= (columns == 0 ? 0 : columns - 1));
  }
  progress = {.doing = "compiling \u6f22\u5b57", .elapsed = seconds(4)};
  CHECK(progress_line(progress, 80) == "| 4 s  compiling \u6f22\u5b57");
  progress.turns = 1;
  CHECK(progress_line(progress, 80).starts_with("/"));  // it moves
}

TEST_CASE("progress: a bar follows the terminal's width and leaves no thread", "[cli]") {
  if (!can_make_terminal()) return;
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator{});
  };
  int terminal = -1, tty = -1;
  winsize size{};
  size.ws_col = 120;
  REQUIRE(::openpty(&terminal, &tty, nullptr, nullptr, &size) == 0);
  const int before = ::dup(STDERR_FILENO);
  const std::string term = ::getenv("TERM") == nullptr ? "" : ::getenv("TERM");
  ::setenv("TERM", "xterm", 1);
  ::dup2(tty, STDERR_FILENO);
  std::thread([] {}).join();  // a sanitizer's own thread comes with the first one
  const auto threads_before = threads();
  const std::string words(200, 'w');
  {
    ProgressBar bar(words, 9);
    bar.show(1, words);
    size.ws_col = 50;
    ::ioctl(terminal, TIOCSWINSZ, &size);
    bar.show(2, words);
  }
  // A thread that has ended may still be listed for a moment.
  for (int i = 0; i < 10000 && threads() != threads_before; ++i) ::usleep(1000);
  const auto threads_after = threads();
  ::dup2(before, STDERR_FILENO);
  ::setenv("TERM", term.c_str(), 1);
  ::close(before);
  ::close(tty);
  std::string text;
  char bytes[4096];
  for (ssize_t count; (count = ::read(terminal, bytes, sizeof bytes)) > 0;) {
    text.append(bytes, static_cast<std::size_t>(count));
  }
  ::close(terminal);
  CHECK(threads_after == threads_before);
  std::size_t wide = 0, narrow = 0;
  for (const std::string& line : drawn_lines(text)) {
    if (line.find(" 1/9 ") != std::string::npos) wide = std::max(wide, line.size());
    if (line.find(" 2/9 ") != std::string::npos) narrow = std::max(narrow, line.size());
  }
  CHECK(wide == 119);
  CHECK(narrow == 49);
}

TEST_CASE("table: columns leave in their order, wide cells give way, numbers are right aligned", "[cli]") {
  const std::vector<Column> columns = {{"NAME"},
                                       {.heading = "WHAT", .fit = Fit::shorten},
                                       {.heading = "SIZE", .right = true, .leaves = 2},
                                       {.heading = "AGE", .leaves = 1}};
  const Rows rows = {{"one", std::string(60, 'a') + std::string(60, 'b'), "5", "today"}, {"two", "c", "1234", "x"}};
  CHECK(table(columns, rows, 0, false) == "NAME  WHAT" + std::string(118, ' ') + "SIZE  AGE\n" + "one   " +
                                              std::string(60, 'a') + std::string(60, 'b') + "     5  today\n" +
                                              "two   c" + std::string(121, ' ') + "1234  x\n");
  const auto blanks = [](std::size_t count) { return std::string(count, ' '); };
  CHECK(table(columns, rows, 50, false) == "NAME  WHAT" + blanks(29) + "SIZE  AGE\n" +
                                               "one   aaaaaaaaaaaaaa...bbbbbbbbbbbbbb     5  today\n" + "two   c" +
                                               blanks(32) + "1234  x\n");
  CHECK(table(columns, rows, 36, false) == "NAME  WHAT" + blanks(22) + "SIZE\n" +
                                               "one   aaaaaaaaaaa...bbbbbbbbbb     5\n" + "two   c" + blanks(25) +
                                               "1234\n");
  for (std::size_t width = 1; width < 130; ++width) {
    CAPTURE(width);
    const std::string text = table(columns, rows, width, true);
    for (const std::string& line : drawn_lines(text)) CHECK(width_of(line) <= width);
    if (width > 4) CHECK_THAT(text, Contains("one") && Contains("two"));
  }
  // Too narrow for columns: one cell a line.
  const std::vector<Column> wide = {
      {"SETTING"}, {.heading = "VALUE", .fit = Fit::wrap}, {.heading = "FROM", .fit = Fit::wrap}};
  CHECK(table(wide,
              {{"LIBRT_CACHE_MAX_SIZE", "256M", "default"}, {"LIBRT_CACHE_DIR", "/home/somebody/.cache/librt", ""}}, 30,
              false) ==
        "LIBRT_CACHE_MAX_SIZE\n  VALUE: 256M\n  FROM: default\n"
        "LIBRT_CACHE_DIR\n  VALUE:\n  /home/somebody/.cache/librt\n");
}

TEST_CASE("table: a cell that wraps goes on below itself; widths are those of the characters", "[cli]") {
  CHECK(table({{}, {.fit = Fit::wrap}}, {{"key", "one two three four"}, {"k", "five"}}, 18, false) ==
        "key  one two three\n     four\nk    five\n");
  CHECK(table({{}, {}}, {{"\u6f22\u5b57", "x"}, {"e\u0301", "y"}}, 0, false) == "\u6f22\u5b57  x\ne\u0301     y\n");
  CHECK(table({{}, {}}, {{"a\x1b[31m\n", "x"}}, 0, false).find('\x1b') == std::string::npos);
  CHECK(shortened("\u6f22\u5b57\u6f22\u5b57\u6f22\u5b57", 8) == "\u6f22...\u5b57");
  CHECK(wrapped("  ab cd efghijkl", 6) == std::vector<std::string>{"  ab", "  cd", "  efgh", "  ijkl"});
  CHECK(wrapped("ab efghijkl", 6, LongWords::keep) == std::vector<std::string>{"ab", "efghijkl"});
}
