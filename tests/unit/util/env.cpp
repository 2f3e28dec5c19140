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
