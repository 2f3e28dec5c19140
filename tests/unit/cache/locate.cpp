#include <catch2/catch.hpp>

#include <filesystem>
#include <string>

#include "src/cache/store.hpp"
#include "tests/support/scoped_env.hpp"

using namespace librt;

TEST_CASE("the cache lies where the first of option, LIBRT_CACHE_DIR, XDG_CACHE_HOME and HOME says",
          "[cache][locate]") {
  const test::ScopedEnv home("HOME", "/home/user");
  const test::ScopedEnv xdg("XDG_CACHE_HOME", "/xdg");
  const test::ScopedEnv own("LIBRT_CACHE_DIR", "/own/");

  const auto check = [](std::string_view option, const std::string& path, const std::string& reason) {
    const cache::Location location = cache::locate(option);
    CHECK(location.path == path);
    CHECK(location.reason == reason);
  };
  check("/option/dir", "/option/dir", "option");
  check("", "/own", "LIBRT_CACHE_DIR");
  const test::ScopedEnv no_own("LIBRT_CACHE_DIR", "");
  check("", "/xdg/librt", "XDG_CACHE_HOME");
  const test::ScopedEnv no_xdg("XDG_CACHE_HOME", nullptr);
  check("", "/home/user/.cache/librt", "HOME");
}

TEST_CASE("relative directories that a person named are taken from the working directory", "[cache][locate]") {
  const std::string here = std::filesystem::current_path().string();
  const test::ScopedEnv own("LIBRT_CACHE_DIR", "some/dir");
  CHECK(cache::locate("").path == here + "/some/dir");
  CHECK(cache::locate("other").path == here + "/other");
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
