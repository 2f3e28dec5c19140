#include <librt/error.hpp>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "src/cache/store.hpp"
#include "tests/support/scoped_env.hpp"
#include "tests/support/temp_dir.hpp"

using namespace librt;

TEST_CASE("the cache lies where the first of option, XDG_CACHE_HOME and HOME says", "[cache][locate]") {
  const test::ScopedEnv home("HOME", "/home/user");
  const test::ScopedEnv xdg("XDG_CACHE_HOME", "/xdg");
  const test::ScopedEnv own("LIBRT_CACHE_DIR", "/own/");

  const auto check = [](const std::string& option, const std::string& path, const std::string& reason) {
    const cache::Location location = cache::locate(option);
    CHECK(location.path == path);
    CHECK(location.reason == reason);
  };
  check("/option/dir", "/option/dir", "option");
  check("/own/", "/own", "LIBRT_CACHE_DIR");  // the variable's directory, in its words
  check("", "/xdg/librt", "XDG_CACHE_HOME");
  const test::ScopedEnv no_xdg("XDG_CACHE_HOME", nullptr);
  check("", "/home/user/.cache/librt", "HOME");
}

TEST_CASE("a directory that is not absolute is refused in words", "[cache][locate]") {
  for (const char* const wrong : {"some/dir", "~/cache", ".", "~"}) {
    try {
      cache::locate(wrong);
      FAIL("located");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::invalid_argument);
      CHECK_THAT(error.what(),
                 Catch::StartsWith("cache_dir=" + std::string(wrong) + " is not allowed; allowed: an absolute path"));
      CHECK((std::string(error.what()).find("only a shell knows what ~ is") != std::string::npos) == (wrong[0] == '~'));
    }
  }
}

TEST_CASE("a directory with a NUL in it is refused, not cut", "[cache][locate]") {
  for (const std::string& wrong : {std::string("/tmp/nul\0abc", 12), std::string("\0/tmp", 5)}) {
    try {
      cache::locate(wrong);
      FAIL("located");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::invalid_argument);
      CHECK(error.what() ==
            "cache_dir has a NUL behind \"" + wrong.substr(0, wrong.find('\0')) + "\"; no path has one");
    }
  }
}

TEST_CASE("nothing is located in the home of another user", "[cache][locate]") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can make a home of another user");
    return;
  }
  const test::TempDir dir;
  REQUIRE(::chown(dir.path().c_str(), 4001, 4001) == 0);
  const test::ScopedEnv xdg("XDG_CACHE_HOME", nullptr);
  const test::ScopedEnv home("HOME", dir.path().c_str());
  const std::string refused = "HOME=" + dir.path() + " belongs to user 4001, and this process runs as user 0";
  CHECK(cache::locate("").path.empty());
  CHECK_THAT(cache::locate("").reason, Catch::StartsWith(refused));
  {
    // Below it too, whether it is there yet or not.
    const test::ScopedEnv below("XDG_CACHE_HOME", (dir / "not/there/yet").c_str());
    CHECK(cache::locate("").path.empty());
    CHECK_THAT(cache::locate("").reason, Catch::StartsWith("XDG_CACHE_HOME="));
  }
  CHECK(cache::locate(dir / "named").path == dir / "named");  // somebody said so
  REQUIRE(::chown(dir.path().c_str(), 0, 0) == 0);
  CHECK(cache::locate("").path == dir.path() + "/.cache/librt");
}

TEST_CASE("a user may use root's directory as home, and no other user's", "[cache][locate]") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can become another user");
    return;
  }
  const test::TempDir dir;
  REQUIRE(::chmod(dir.path().c_str(), 0777) == 0);
  const test::ScopedEnv xdg("XDG_CACHE_HOME", nullptr);
  const test::ScopedEnv home("HOME", dir.path().c_str());
  const auto located_by = [&](uid_t user) {
    REQUIRE(::seteuid(user) == 0);
    const cache::Location location = cache::locate("");
    REQUIRE(::seteuid(0) == 0);
    return location.path;
  };
  CHECK(located_by(4002) == dir.path() + "/.cache/librt");
  REQUIRE(::chown(dir.path().c_str(), 4001, 4001) == 0);
  CHECK(located_by(4001) == dir.path() + "/.cache/librt");
  CHECK(located_by(4002).empty());
}

TEST_CASE("a relative XDG_CACHE_HOME is ignored, and the reason says so", "[cache][locate]") {
  const test::ScopedEnv own("LIBRT_CACHE_DIR", nullptr);
  const test::ScopedEnv xdg("XDG_CACHE_HOME", "relative");
  const test::ScopedEnv home("HOME", "/home/user");
  const cache::Location location = cache::locate("");
  CHECK(location.path == "/home/user/.cache/librt");
  CHECK_THAT(location.reason, Catch::Contains("XDG_CACHE_HOME=relative is ignored"));
}

TEST_CASE("without any of them the cache is in memory, and the reason says what is missing", "[cache][locate]") {
  const test::ScopedEnv own("LIBRT_CACHE_DIR", nullptr);
  const test::ScopedEnv xdg("XDG_CACHE_HOME", nullptr);
  {
    const test::ScopedEnv home("HOME", nullptr);
    CHECK(cache::locate("").path.empty());
    CHECK_THAT(cache::locate("").reason, Catch::Contains("none of LIBRT_CACHE_DIR"));
  }
  const test::ScopedEnv home("HOME", "nowhere");
  CHECK(cache::locate("").path.empty());
  CHECK_THAT(cache::locate("").reason, Catch::Contains("HOME=nowhere"));
}
