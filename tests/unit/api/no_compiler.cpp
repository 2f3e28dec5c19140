// Serving without a compiler: what a cache has is found by what it was compiled from.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "src/util/files.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::TempDir;
using test::thrown_by;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
const Spec kOther = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 8};

Options options_in(const TempDir& dir, CacheMode mode) {
  Options options;
  options.cache_dir = dir / "cache";
  options.cache_mode = mode;
  options.device = "virtual:sm_80";
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

/// Sees who opens a directory's files, this process too.
class Openings {
 public:
  explicit Openings(const std::string& directory) {
    if (fd_) ::inotify_add_watch(fd_.get(), directory.c_str(), IN_OPEN);
  }
  bool can_see() const { return static_cast<bool>(fd_); }
  /// Whether there was one since the last call.
  bool any() const {
    alignas(inotify_event) char events[4096];
    bool seen = false;
    while (::read(fd_.get(), events, sizeof events) > 0) seen = true;
    return seen;
  }

 private:
  util::UniqueFd fd_{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
};

}  // namespace

TEST_CASE("A prewarmed cache serves where there is no NVRTC, in every mode", "[no_compiler]") {
  const TempDir dir;
  Options filling = options_in(dir, CacheMode::rw);
  // A GPU's code holds the PTX that the virtual device runs.
  const Arch made_for = GENERATE(Arch{80, 0, true}, Arch{80, 0, false});
  REQUIRE(Runtime(filling).prewarm(std::vector{kSpec}, std::vector{made_for}).complete());

  const CacheMode mode = GENERATE(CacheMode::only, CacheMode::ro, CacheMode::rw);
  Options serving = options_in(dir, mode);
  serving.nvrtc = "/nonexistent/libnvrtc.so.13";
  Runtime runtime(serving);
  const Kernel kernel = runtime.get(kSpec);
  CHECK(kernel.artifact().origin == Origin::disk);
  CHECK(kernel.artifact().arch == made_for);
  const std::vector<CacheEntry> entries = cache_list(serving);
  CHECK(std::any_of(entries.begin(), entries.end(),
                    [&](const CacheEntry& each) { return each.key == kernel.artifact().key; }));
  CHECK(runtime.stats().compiled + runtime.stats().failed + runtime.stats().refused == 0);
  CHECK(runtime.compile(kSpec, made_for).key == kernel.artifact().key);

  const CacheExplanation there = runtime.explain(kSpec, made_for);
  CHECK(there.cached);
  CHECK(there.key == kernel.artifact().key);
  const CacheExplanation missing = runtime.explain(kOther, made_for);
  CHECK_FALSE(missing.cached);
  REQUIRE_FALSE(missing.nearest_key.empty());
  for (const CacheDifference& each : missing.differences) CHECK_THAT(each.field, !Catch::StartsWith("compiler"));

  // What is not there: the mode that compiles nothing does not speak of compilers.
  const auto error = thrown_by([&] { runtime.get(kOther); });
  REQUIRE(error);
  CHECK(error->code == (mode == CacheMode::only ? ErrorCode::not_cached : ErrorCode::no_nvrtc));
  if (mode == CacheMode::rw) {
    CHECK(runtime.prewarm(std::vector{kSpec}, std::vector{made_for}).already_there == 2);
    const auto unmade = thrown_by([&] { (void)runtime.prewarm(std::vector{kOther}, std::vector{made_for}); });
    REQUIRE(unmade);
    CHECK(unmade->code == ErrorCode::no_nvrtc);
  }
}

TEST_CASE("Another NVRTC than the one that filled a cache serves from it in mode only", "[no_compiler]") {
  const TempDir dir;
  REQUIRE(
      Runtime(options_in(dir, CacheMode::rw)).prewarm(std::vector{kSpec}, std::vector{Arch{80, 0, true}}).complete());
  Options serving = options_in(dir, CacheMode::only);
  serving.nvrtc = LIBRT_FAKE_NVRTC_DIR "/13.0/libnvrtc.so.13.0";
  CHECK(Runtime(serving).get(kSpec).artifact().origin == Origin::disk);
  // And one that cannot be loaded, though its files tell who it is: here by a version that its name does not have.
  std::filesystem::copy(LIBRT_FAKE_NVRTC_DIR "/12.9/libnvrtc.so.12.9", dir / "libnvrtc.so.13.7");
  serving.nvrtc = dir / "libnvrtc.so.13.7";
  serving.cache_mode = CacheMode::rw;
  CHECK(Runtime(serving).get(kSpec).artifact().origin == Origin::disk);
  CHECK(Runtime(serving).compile(kSpec, Arch{80, 0, true}).origin == Origin::disk);
}

TEST_CASE("In mode only nobody looks at an NVRTC", "[no_compiler]") {
  const TempDir dir;
  const Arch arch{80, 0, true};
  REQUIRE(Runtime(options_in(dir, CacheMode::rw)).prewarm(std::vector{kSpec}, std::vector{arch}).complete());
  std::filesystem::create_directory(dir / "nvrtc");
  Options serving = options_in(dir, CacheMode::only);
  serving.nvrtc = dir / "nvrtc/libnvrtc.so.13.0";
  std::filesystem::copy(LIBRT_FAKE_NVRTC_DIR "/13.0/libnvrtc.so.13.0", serving.nvrtc);
  const Openings openings(dir / "nvrtc");
  if (!openings.can_see()) {
    WARN("skipped: no inotify here");
    return;
  }
  Runtime runtime(serving);
  CHECK(runtime.get(kSpec).artifact().origin == Origin::disk);
  CHECK(Runtime(serving).compile(kSpec, arch).origin == Origin::disk);
  CHECK(runtime.explain(kSpec, arch).cached);
  CHECK_FALSE(runtime.explain(kOther, arch).cached);
  CHECK_FALSE(openings.any());
  for (const auto& error :
       {thrown_by([&] { runtime.get(kOther); }), thrown_by([&] { runtime.compile(kOther, arch); })}) {
    REQUIRE(error);
    CHECK(error->code == ErrorCode::not_cached);
    CHECK_THAT(error->what, !Catch::Contains("compiler"));
  }
  CHECK_FALSE(openings.any());
  // Whoever looks is seen.
  serving.cache_mode = CacheMode::ro;
  (void)Runtime(serving).explain(kSpec, arch);
  CHECK(openings.any());
}

}  // namespace librt
