#include "src/api/recorder.hpp"

#include <librt/error.hpp>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "src/util/files.hpp"
#include "tests/support/temp_dir.hpp"

namespace librt {
namespace {

namespace fs = std::filesystem;

/// What was said, and the log that says it.
struct Warnings {
  std::mutex mutex{};
  std::vector<std::string> all{};
  util::Log log() {
    return {[this](LogLevel, std::string_view text) {
              const std::lock_guard lock(mutex);
              all.emplace_back(text);
            },
            LogLevel::warn};
  }
};

Spec spec_of(int page_size) {
  return MlaDecodeSpec{.num_heads = 16, .page_size = page_size};
}

const Arch kArch{90, 'a', false};

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

TEST_CASE("What is noted is in the file at once, each once, as a manifest", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  Warnings warnings;
  api::Recorder recorder(path, warnings.log());
  CHECK_FALSE(fs::exists(path));
  recorder.note(MlaDecodeSpec{.num_heads = 16, .page_size = 4}, kArch);
  const Manifest first = read_manifest(path);
  CHECK(first.specs == std::vector<Spec>{spec_of(4)});
  CHECK(first.archs == std::vector<Arch>{kArch});
  const auto written = fs::last_write_time(path);
  recorder.note(spec_of(4), kArch);
  CHECK(fs::last_write_time(path) == written);
  recorder.note(spec_of(8), {80, 0, true});
  const Manifest both = read_manifest(path);
  CHECK(both.specs == std::vector<Spec>{spec_of(4), spec_of(8)});
  CHECK(both.archs == std::vector<Arch>{kArch, {80, 0, true}});
  CHECK(warnings.all.empty());
  CHECK(std::distance(fs::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("What a manifest holds stays, and one that lacks nothing is left as it is written", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  const std::string text =
      R"({"note": "by hand", "archs": ["sm_90a"], "specs": ["mla_decode dtype=bf16 num_heads=16 page_size=1,2,3,4,5,6,7,8"]})";
  write(path, text);
  Warnings warnings;
  api::Recorder recorder(path, warnings.log());
  recorder.note(spec_of(4), kArch);
  CHECK(text_of(path) == text);
  recorder.note(spec_of(16), kArch);
  const Manifest manifest = read_manifest(path);
  CHECK(manifest.note == "by hand");
  CHECK(manifest.specs.size() == 9);
  write(path, "");  // as by `: > asked.json`
  recorder.note(spec_of(32), kArch);
  CHECK(read_manifest(path).specs == std::vector<Spec>{spec_of(32)});
  CHECK(warnings.all.empty());
}

TEST_CASE("Processes and threads record into one file", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  constexpr int kProcesses = 4, kEach = 10;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Warnings warnings;
      {
        api::Recorder recorder(path, warnings.log());
        std::vector<std::jthread> threads;
        for (int thread = 0; thread < 2; ++thread) {
          threads.emplace_back([&recorder, process, thread] {
            // Each shares half of its pages with the next process.
            for (int i = 0; i < kEach; ++i)
              recorder.note(spec_of(1 + process * kEach / 2 + i), {80 + 10 * thread, 0, false});
          });
        }
      }
      ::_exit(warnings.all.empty() ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  const Manifest manifest = read_manifest(path);
  CHECK(manifest.specs.size() == (kProcesses + 1) * kEach / 2);
  CHECK(manifest.archs.size() == 2);
  CHECK(std::distance(fs::directory_iterator(dir.path()), {}) == 1);
}

TEST_CASE("A forked child goes on with the recorder of its parent", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  Warnings warnings;
  api::Recorder recorder(path, warnings.log());
  recorder.note(spec_of(1), kArch);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    recorder.note(spec_of(2), kArch);
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  recorder.note(spec_of(3), kArch);
  CHECK(read_manifest(path).specs == std::vector<Spec>{spec_of(1), spec_of(2), spec_of(3)});
}

TEST_CASE("A file that is no manifest is left alone, with one warning", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  for (const std::string& foreign : {std::string(R"({"specs": [)"), std::string("my notes\n"),
                                     std::string(R"({"specs": [], "mine": 1})"), std::string(64, '\0')}) {
    CAPTURE(foreign);
    write(path, foreign);
    Warnings warnings;
    {
      api::Recorder recorder(path, warnings.log());
      recorder.note(spec_of(4), kArch);
      recorder.note(spec_of(8), kArch);
    }
    CHECK(text_of(path) == foreign);
    REQUIRE(warnings.all.size() == 1);
    CHECK_THAT(warnings.all[0], Catch::StartsWith("requests are not recorded: ") && Catch::Contains(path));
  }
}

TEST_CASE("What cannot be written is one warning, and is tried again", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "later" + "/asked.json";
  Warnings warnings;
  {
    api::Recorder recorder(path, warnings.log());
    recorder.note(spec_of(4), kArch);
    recorder.note(spec_of(8), kArch);
    CHECK(warnings.all.size() == 1);
    fs::create_directory(dir / "later");
  }
  CHECK(read_manifest(path).specs == std::vector<Spec>{spec_of(4), spec_of(8)});
  CHECK(warnings.all.size() == 1);

  Warnings of_directory;
  api::Recorder(dir.path(), of_directory.log()).note(spec_of(4), kArch);
  CHECK(of_directory.all.size() == 1);
  const std::string pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  Warnings of_pipe;
  api::Recorder(pipe, of_pipe.log()).note(spec_of(4), kArch);  // nobody reads it: must not wait
  CHECK(of_pipe.all.size() == 1);
}

TEST_CASE("A request does not wait for a process that keeps the file, and what it asked for comes later", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  Warnings warnings;
  {
    api::Recorder recorder(path, warnings.log());
    {
      const util::UniqueFd other(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      REQUIRE(::flock(other.get(), LOCK_EX) == 0);
      recorder.note(spec_of(4), kArch);
      recorder.note(spec_of(8), kArch);
      CHECK_FALSE(fs::exists(path));  // not written over what the other one is about to write, either
    }
    recorder.note(spec_of(16), kArch);
    CHECK(read_manifest(path).specs == std::vector<Spec>{spec_of(4), spec_of(8), spec_of(16)});
    const util::UniqueFd other(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    REQUIRE(::flock(other.get(), LOCK_EX) == 0);
    recorder.note(spec_of(32), kArch);
    CHECK(read_manifest(path).specs.size() == 3);
  }
  CHECK(read_manifest(path).specs.size() == 4);  // at the latest with its end
  CHECK(warnings.all.empty());
}

TEST_CASE("A recording ends where a manifest does", "[record]") {
  const test::TempDir dir;
  const std::string path = dir / "asked.json";
  std::string pages = "1";
  for (int page = 2; page <= 10000; ++page) pages += fmt::format(",{}", page);
  write(path, fmt::format(R"({{"archs": ["sm_90a"], "specs": ["mla_decode dtype=bf16 num_heads=16 page_size={}"]}})",
                          pages));
  const std::string before = text_of(path);
  Warnings warnings;
  api::Recorder recorder(path, warnings.log());
  recorder.note(spec_of(10001), kArch);
  recorder.note(spec_of(10002), kArch);
  CHECK(text_of(path) == before);
  REQUIRE(warnings.all.size() == 1);
  CHECK_THAT(warnings.all[0], Catch::Contains("is full: 10001 specs"));
}

}  // namespace
}  // namespace librt
