#include <librt/options.hpp>

#include <catch2/catch.hpp>

#include "tests/support/scoped_env.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::ScopedEnv;

TEST_CASE("Options have the documented defaults without LIBRT_ variables") {
  const ScopedEnv kernels("LIBRT_KERNELS_DIR", nullptr), device("LIBRT_DEVICE", nullptr), nvrtc("LIBRT_NVRTC", nullptr),
      log("LIBRT_LOG", nullptr);
  const Options options = Options::from_env();
  CHECK(options.device == "cuda:0");
  CHECK(options.kernels_dir.empty());
  CHECK(options.nvrtc.empty());
  CHECK(options.log_level == LogLevel::warn);
  CHECK(options.cache_mode == CacheMode::rw);
}

TEST_CASE("Options take their values from the environment") {
  const ScopedEnv kernels("LIBRT_KERNELS_DIR", "somewhere"), device("LIBRT_DEVICE", "virtual:sm_90a"),
      nvrtc("LIBRT_NVRTC", "lib/libnvrtc.so.13"), log("LIBRT_LOG", "debug");
  const Options options = Options::from_env();
  CHECK(options.kernels_dir == "somewhere");
  CHECK(options.device == "virtual:sm_90a");
  CHECK(options.nvrtc == "lib/libnvrtc.so.13");
  CHECK(options.log_level == LogLevel::debug);
}

TEST_CASE("A log level that does not exist is refused by name") {
  const ScopedEnv log("LIBRT_LOG", "loud");
  const auto thrown = test::thrown_by([] { Options::from_env(); });
  REQUIRE(thrown);
  CHECK(thrown->code == ErrorCode::invalid_argument);
  CHECK(thrown->what == "LIBRT_LOG=loud is not a level; allowed: debug, info, warn, error");
}

}  // namespace
}  // namespace librt
