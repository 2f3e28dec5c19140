#include "src/util/env.hpp"

#include <catch2/catch.hpp>

#include "tests/support/scoped_env.hpp"

using namespace librt;

TEST_CASE("env tells unset from set, and takes empty as unset", "[util][env]") {
  const test::ScopedEnv set("LIBRT_TEST_ENV", "some value");
  CHECK(util::env("LIBRT_TEST_ENV") == "some value");
  {
    const test::ScopedEnv empty("LIBRT_TEST_ENV", "");
    CHECK_FALSE(util::env("LIBRT_TEST_ENV"));
  }
  {
    const test::ScopedEnv unset("LIBRT_TEST_ENV", nullptr);
    CHECK_FALSE(util::env("LIBRT_TEST_ENV"));
  }
  CHECK(util::env("LIBRT_TEST_ENV") == "some value");
}

TEST_CASE("a variable that librt does not know is found, its own and the tests' are not", "[util][env]") {
  const test::ScopedEnv known("LIBRT_CACHE_DIR", "/x"), tests("LIBRT_TEST_ANY", "1"), wrong("LIBRT_CACHEDIR", "/y"),
      other("XLIBRT_CACHEDIR", "/z");
  const std::vector<std::string> unknown = util::unknown_variables();
  CHECK(std::find(unknown.begin(), unknown.end(), "LIBRT_CACHEDIR") != unknown.end());
  for (const std::string& name : unknown) CHECK((name != "LIBRT_CACHE_DIR" && name != "LIBRT_TEST_ANY"));
}
