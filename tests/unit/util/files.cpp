#include "src/util/files.hpp"

#include <librt/error.hpp>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "tests/support/temp_dir.hpp"

using namespace librt;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string io_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::io);
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("a file comes back as it was written", "[util][files]") {
  const test::TempDir directory;
  const std::string path = directory / "file";
  std::string contents(100000, 'x');
  contents[5] = '\0';
  for (const std::string& text : {std::string(), std::string("a"), contents}) {
    util::write_file(path, bytes_of(text));
    CHECK(util::read_text_file(path, contents.size()) == text);
    CHECK(util::read_file(path, contents.size()).size() == text.size());
  }
  CHECK(std::distance(fs::directory_iterator(directory.path()), {}) == 1);  // nothing temporary stays
}

TEST_CASE("read_file names the path and the reason", "[util][files]") {
  using Catch::Contains;
  const test::TempDir directory;
  const std::string path = directory / "file";
  CHECK_THAT(io_error([&] { util::read_file(path, 10); }), Contains(path) && Contains("No such file"));
  CHECK_THAT(io_error([&] { util::read_file(directory.path(), 10); }), Contains("is a directory"));
  util::write_file(path, bytes_of("0123456789"));
  CHECK(util::read_file(path, 10).size() == 10);
  CHECK_THAT(io_error([&] { util::read_file(path, 9); }), Contains("10 bytes; at most 9"));
  const std::string pipe = directory / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THAT(io_error([&] { util::read_file(pipe, 10); }), Contains("not a regular file"));
}

TEST_CASE("write_file leaves the old file when it cannot write the new one", "[util][files]") {
  const test::TempDir directory;
  CHECK_THAT(io_error([&] { util::write_file(directory / "none/file", bytes_of("x")); }), Catch::Contains("none/file"));
  CHECK_THAT(io_error([&] { util::write_file(directory.path(), bytes_of("x")); }), Catch::Contains("is a directory"));
}

TEST_CASE("write_file keeps the mode of the file and the link to it", "[util][files]") {
  const test::TempDir directory;
  const std::string target = directory / "target";
  const std::string link = directory / "link";
  util::write_file(target, bytes_of("old"));
  REQUIRE(::chmod(target.c_str(), 0640) == 0);
  fs::create_symlink("target", link);
  util::write_file(link, bytes_of("new"));
  CHECK(fs::is_symlink(link));
  CHECK(util::read_text_file(target, 10) == "new");
  struct stat status {};
  REQUIRE(::stat(target.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0640);
}

TEST_CASE("write_file makes the file that a link names, and refuses links in a circle", "[util][files]") {
  const test::TempDir directory;
  fs::create_directory(directory / "below");
  fs::create_symlink("below/second", directory / "first");
  fs::create_symlink(directory / "target", directory / "below/second");
  util::require_writable(directory / "first");
  CHECK_FALSE(fs::exists(directory / "target"));
  util::write_file(directory / "first", bytes_of("new"));
  CHECK(fs::is_symlink(directory / "first"));
  CHECK(fs::is_symlink(directory / "below/second"));
  CHECK(util::read_text_file(directory / "target", 10) == "new");
  fs::create_symlink("there", directory / "here");
  fs::create_symlink("here", directory / "there");
  CHECK_THAT(io_error([&] { util::write_file(directory / "here", bytes_of("x")); }), Catch::Contains("ymbolic links"));
  CHECK(fs::is_symlink(directory / "here"));
}

TEST_CASE("write_file writes into a device instead of replacing it", "[util][files]") {
  util::write_file("/dev/null", bytes_of("x"));
  CHECK(fs::is_character_file("/dev/null"));
  CHECK_THAT(io_error([] { util::write_file("/dev/full", bytes_of("x")); }), Catch::Contains("No space"));
}

TEST_CASE("UniqueFd closes what it owns, once", "[util][files]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const util::UniqueFd read_end(ends[0]);
  {
    util::UniqueFd first(ends[1]);
    util::UniqueFd second(std::move(first));
    CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move)
    CHECK(second.get() == ends[1]);
    first = std::move(second);
    CHECK(first);
  }
  std::byte byte{};
  std::size_t got = 1;
  CHECK(util::read_full(read_end.get(), std::span(&byte, 1), got) == 0);  // the write end is closed: end of file
  CHECK(got == 0);
}

TEST_CASE("temporary names differ", "[util][files]") {
  const std::string name = util::temporary_name();
  CHECK(name.starts_with(std::to_string(::getpid()) + "-"));
  CHECK(name.ends_with(".tmp"));
  CHECK(name != util::temporary_name());
}

TEST_CASE("write_new_file writes over nothing, not even a link to nowhere", "[util][files]") {
  const test::TempDir directory;
  const std::string path = directory / "file";
  util::write_new_file(path, bytes_of("first"));
  CHECK(util::read_text_file(path, 10) == "first");
  CHECK_THAT(io_error([&] { util::write_new_file(path, bytes_of("second")); }), Catch::Contains("File exists"));
  CHECK(util::read_text_file(path, 10) == "first");
  const std::string link = directory / "link";
  fs::create_symlink(directory / "nowhere", link);
  CHECK_THAT(io_error([&] { util::write_new_file(link, bytes_of("x")); }), Catch::Contains("File exists"));
  CHECK_FALSE(fs::exists(directory / "nowhere"));
}

TEST_CASE("require_writable refuses what write_file could not begin, and leaves nothing", "[util][files]") {
  const test::TempDir directory;
  const std::string path = directory / "file";
  util::require_writable(path);
  CHECK(fs::is_empty(directory.path()));
  util::write_file(path, bytes_of("x"));
  util::require_writable(path);
  CHECK(util::read_text_file(path, 10) == "x");
  CHECK(std::distance(fs::directory_iterator(directory.path()), {}) == 1);
  util::require_writable("/dev/null");
  for (const std::string& wrong : {directory / "none/file", directory.path(), path + "/below", std::string("/proc/x"),
                                   directory / std::string(255, 'n')}) {
    CAPTURE(wrong);
    CHECK_THAT(io_error([&] { util::require_writable(wrong); }), Catch::Contains("cannot write "));
  }
}
