#include <librt/cache.hpp>
#include <librt/options.hpp>
#include <librt/runtime.hpp>

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

TEST_CASE("The bound of a launch on the virtual device takes its value from the environment") {
  {
    const ScopedEnv limit("LIBRT_VIRTUAL_INSTRUCTION_LIMIT", "2G");
    CHECK(Options::from_env().virtual_instruction_limit == std::uint64_t{2} << 30);
  }
  const ScopedEnv limit("LIBRT_VIRTUAL_INSTRUCTION_LIMIT", "much");
  const auto thrown = test::thrown_by([] { Options::from_env(); });
  REQUIRE(thrown);
  CHECK(thrown->what ==
        "LIBRT_VIRTUAL_INSTRUCTION_LIMIT=much is not allowed; allowed: a number with or without K, M, G; 0 = no bound");
}

TEST_CASE("A path with a NUL in it is refused by the name of its option, not cut") {
  const std::string wrong("/etc/hosts\0x", 12);
  Options kernels, nvrtc, record, own, read_only;
  kernels.kernels_dir = nvrtc.nvrtc = record.record = own.cache_dir = wrong;
  read_only.cache_read_only = {"/tmp", wrong};
  for (const Options& options : {kernels, nvrtc, record, own, read_only}) {
    const auto thrown = test::thrown_by([&] { Runtime{options}; });
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::invalid_argument);
    CHECK_THAT(thrown->what, Catch::EndsWith(" has a NUL behind \"/etc/hosts\"; no path has one"));
  }
  CHECK(test::thrown_by([&] { cache_list(own); }));
  CHECK(test::thrown_by([&] { cache_list(read_only); }));
}

TEST_CASE("A log level that does not exist is refused by name") {
  const ScopedEnv log("LIBRT_LOG", "loud");
  const auto thrown = test::thrown_by([] { Options::from_env(); });
  REQUIRE(thrown);
  CHECK(thrown->code == ErrorCode::invalid_argument);
  CHECK(thrown->what == "LIBRT_LOG=loud is not a level; allowed: debug, info, warn, error");
}

TEST_CASE("The cache's options take their values from the environment") {
  const ScopedEnv directory("LIBRT_CACHE_DIR", "/own"), mode("LIBRT_CACHE_MODE", "only"),
      read_only("LIBRT_CACHE_RO", "/a::/b c:"), size("LIBRT_CACHE_MAX_SIZE", "3M"),
      trust("LIBRT_CACHE_TRUST", "shared"), fsync("LIBRT_CACHE_FSYNC", "0"), timeout("LIBRT_LOCK_TIMEOUT_MS", "250");
  const Options options = Options::from_env();
  CHECK(options.cache_dir == "/own");
  CHECK(options.cache_mode == CacheMode::only);
  CHECK(options.cache_read_only == std::vector<std::string>{"/a", "/b c"});
  CHECK(options.cache_max_bytes == 3 << 20);
  CHECK(options.cache_trust == CacheTrust::shared);
  CHECK_FALSE(options.cache_fsync);
  CHECK(options.lock_timeout_ms == 250);
}

TEST_CASE("A directory in the environment that is not absolute is refused, and ~ named as the likely cause") {
  for (const char* const name : {"LIBRT_CACHE_DIR", "LIBRT_CACHE_RO"}) {
    const std::string value = std::string(name).ends_with("RO") ? "/a:~/layer" : "~/cache";
    const ScopedEnv home(name, value.c_str());
    const auto thrown = test::thrown_by([] { Options::from_env(); });
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::invalid_argument);
    CHECK(thrown->what == name + std::string("=") + value.substr(value.find('~')) +
                              " is not allowed; allowed: an absolute path (only a shell knows what ~ is: write the "
                              "directory out)");
    const ScopedEnv relative(name, "some/dir");
    CHECK(test::thrown_by([] { Options::from_env(); })->what.ends_with("allowed: an absolute path"));
  }
}

TEST_CASE("Sizes are numbers with or without a unit") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("1048576") == 1048576);
  CHECK(parse_size("1K") == 1024);
  CHECK(parse_size("256m") == 256 << 20);
  CHECK(parse_size("2G") == std::uint64_t{2} << 30);
  CHECK(parse_size("17179869183G") == std::uint64_t{17179869183} << 30);
  for (const char* wrong : {"", "K", "-1", "1.5M", "1MB", " 1", "17179869184G", "99999999999999999999"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_size(wrong));
  }
}

}  // namespace
}  // namespace librt
