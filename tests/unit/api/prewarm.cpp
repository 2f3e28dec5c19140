#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using test::thrown_by;

// The first two share all programs, the third shares the merge with them.
const std::vector<Spec> kSpecs{GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4},
                               GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 8, .head_dim = 64, .page_size = 4},
                               GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 8}};
const std::vector<Arch> kPtx{{80, 0, true}};

Options options_in(const std::string& directory) {
  Options options;
  options.cache_dir = directory;
  options.device = "virtual";
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

TEST_CASE("A prewarm compiles each program once, and again nothing", "[prewarm]") {
  const TempDir dir;
  Runtime runtime(options_in(dir / "cache"));
  std::set<std::size_t> steps;
  std::multiset<std::string> kernels;
  const auto progress = [&](std::size_t done, std::size_t all, const PrewarmProgram& program) {
    CHECK(all == 3);
    steps.insert(done);
    kernels.insert(program.kernel);
  };
  const PrewarmReport first = runtime.prewarm(kSpecs, kPtx, {.threads = 2, .progress = progress});
  CHECK(first.complete());
  CHECK(first.requested == 3);
  CHECK(first.compiled == 3);
  CHECK(first.already_there == 0);
  CHECK(first.bytes > 1000);
  CHECK(first.seconds > 0);
  CHECK(first.archs == kPtx);
  CHECK(steps == std::set<std::size_t>{1, 2, 3});
  CHECK(kernels == std::multiset<std::string>{"gqa_decode", "gqa_decode", "merge_states"});
  CHECK(cache_list(options_in(dir / "cache")).size() == 3);

  const PrewarmReport again = Runtime(options_in(dir / "cache")).prewarm(kSpecs, kPtx);
  CHECK(again.complete());
  CHECK(again.compiled == 0);
  CHECK(again.already_there == 3);
  CHECK(again.bytes == first.bytes);

  // Nothing was kept in memory: what is gone from the disk is made again.
  cache_clear(options_in(dir / "cache"));
  CHECK(runtime.prewarm(kSpecs, kPtx).compiled == 3);
}

TEST_CASE("What was prewarmed serves, moved and read-only, a Runtime that compiles nothing", "[prewarm]") {
  const TempDir dir;
  const std::vector<Arch> archs{{80, 0, true}, {80, 0, false}};
  REQUIRE(Runtime(options_in(dir / "cache")).prewarm(kSpecs, archs).complete());
  fs::rename(dir / "cache", dir / "moved");
  for (const auto& each : fs::recursive_directory_iterator(dir / "moved")) {
    fs::permissions(each.path(), each.is_directory() ? fs::perms{0555} : fs::perms{0444});
  }
  fs::permissions(dir / "moved", fs::perms{0555});

  Options options = options_in(dir / "nothing here");
  options.cache_mode = CacheMode::only;
  options.cache_read_only = {dir / "moved"};
  Runtime runtime(options);
  for (const Spec& spec : kSpecs) {
    const Kernel kernel = runtime.get(spec);  // its merge, too
    CHECK(kernel.artifact().origin == Origin::disk);
    for (const Arch& arch : archs) {
      CHECK_NOTHROW(runtime.compile(spec, arch));
      CHECK_NOTHROW(runtime.compile_merge(spec, arch));
    }
  }
  CHECK(runtime.stats().compiled == 0);
  CHECK(runtime.stats().refused == 0);
  CHECK_FALSE(fs::exists(dir / "nothing here"));
  for (const auto& each : fs::recursive_directory_iterator(dir / "moved")) {
    fs::permissions(each.path(), each.is_directory() ? fs::perms{0755} : fs::perms{0644});
  }
}

TEST_CASE("What fails does not stop what does not", "[prewarm]") {
  const TempDir dir;
  std::vector<Spec> specs = kSpecs;
  specs.push_back(GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 72, .page_size = 4});
  const std::vector<Arch> archs{{70, 0, false}, {80, 0, true}, {84, 0, true}};
  const PrewarmReport report = Runtime(options_in(dir / "cache")).prewarm(specs, archs);
  CHECK_FALSE(report.complete());
  CHECK(report.requested == report.compiled + report.already_there + report.failed.size());
  CHECK(report.compiled == 3);
  std::map<ErrorCode, std::size_t> codes;
  for (const PrewarmFailure& failure : report.failed) {
    ++codes[failure.code];
    CHECK_FALSE(failure.error.empty());
  }
  CHECK(codes[ErrorCode::invalid_argument] == 3);  // the head dimension, for each arch
  CHECK(codes[ErrorCode::unsupported] == 3 + 3);   // sm_70: no kernels; compute_84: NVRTC knows none
}

TEST_CASE("A prewarm that cannot keep what it compiles says so", "[prewarm]") {
  const TempDir dir;
  Options tiny = options_in(dir / "tiny");
  tiny.cache_max_bytes = 1;
  const PrewarmReport unwritten = Runtime(tiny).prewarm(kSpecs, kPtx, {.threads = 2});
  CHECK_FALSE(unwritten.complete());
  CHECK(unwritten.compiled == 0);
  REQUIRE(unwritten.failed.size() == 3);
  for (const PrewarmFailure& failure : unwritten.failed) {
    CHECK(failure.code == ErrorCode::io);
    CHECK_THAT(failure.error, Catch::Contains("could not be written to " + dir.path() + "/tiny"));
  }

  Options small = options_in(dir / "small");
  small.cache_max_bytes = Runtime(options_in(dir / "whole")).prewarm(kSpecs, kPtx).bytes - 1000;
  const PrewarmReport evicted = Runtime(small).prewarm(kSpecs, kPtx, {.threads = 1});
  CHECK(evicted.failed.empty());
  CHECK(evicted.compiled == 3);
  CHECK(evicted.bytes > small.cache_max_bytes);
  CHECK(evicted.evicted >= 1);
  CHECK(evicted.evicted == 3 - cache_list(small).size());
  CHECK_FALSE(evicted.complete());
}

TEST_CASE("A prewarm that cannot begin throws", "[prewarm]") {
  const TempDir dir;
  const auto code = [&](const std::function<void(Options&)>& change, const std::vector<Arch>& archs) {
    Options options = options_in(dir / "cache");
    change(options);
    const auto thrown = thrown_by([&] { Runtime(options).prewarm(kSpecs, archs); });
    REQUIRE(thrown);
    CHECK_FALSE(fs::exists(dir / "cache" + "/v1/objects"));
    return thrown->code;
  };
  CHECK(code([](Options&) {}, {}) == ErrorCode::invalid_argument);
  CHECK(code([](Options& options) { options.cache_mode = CacheMode::ro; }, kPtx) == ErrorCode::invalid_argument);
  CHECK(code([](Options& options) { options.nvrtc = "/nonexistent/libnvrtc.so"; }, kPtx) == ErrorCode::no_nvrtc);
  std::ofstream(dir / "file") << "in the way";
  for (const std::string& place : {dir / "file", dir / "file/below", std::string("/proc/librt")}) {
    Runtime runtime(options_in(place));
    const auto thrown = thrown_by([&] { runtime.prewarm(kSpecs, kPtx); });
    CAPTURE(place);
    REQUIRE(thrown);
    CHECK(thrown->code == ErrorCode::invalid_argument);
    CHECK_THAT(thrown->what, Catch::Contains(place + " cannot be filled"));
    CHECK(runtime.stats().compiled == 0);
  }
  Runtime runtime(options_in(dir / "stopped"));
  const auto stop = [](std::size_t, std::size_t, const PrewarmProgram&) { throw std::runtime_error("enough"); };
  CHECK_THROWS_WITH(runtime.prewarm(kSpecs, kPtx, {.threads = 1, .progress = stop}), "enough");
  CHECK(cache_list(options_in(dir / "stopped")).size() == 1);
}

TEST_CASE("What a Runtime was asked for can be prewarmed elsewhere", "[prewarm][record]") {
  const TempDir dir;
  Options options = options_in(dir / "first");
  options.record = dir / "asked.json";
  {
    Runtime runtime(options);
    runtime.get(kSpecs[0]);
    runtime.get(kSpecs[0]);
    runtime.compile(kSpecs[2], kPtx[0]);
    CHECK(thrown_by([&] { runtime.compile(kSpecs[0], {70, 0, false}); }));  // no such program: not recorded
  }
  const Manifest manifest = read_manifest(dir / "asked.json");
  CHECK(manifest.archs == kPtx);
  CHECK(manifest.specs.size() == 2);
  REQUIRE(Runtime(options_in(dir / "second")).prewarm(manifest.specs, manifest.archs).complete());
  Options only = options_in(dir / "second");
  only.cache_mode = CacheMode::only;
  Runtime runtime(only);
  CHECK_NOTHROW(runtime.get(kSpecs[0]));
  CHECK_NOTHROW(runtime.get(kSpecs[2]));
}

}  // namespace
}  // namespace librt
