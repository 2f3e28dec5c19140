// What a prewarm makes for a kind of GPU is what such a GPU asks for.
#include <librt/librt.hpp>

#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/device/cuda/fixture.hpp"

namespace librt::device {

TEST_CASE("a cache that was prewarmed for a kind of GPU serves one that compiles nothing", "[cuda]") {
  fake_cuda::reset();
  const std::string name = GENERATE("sm_90a", "sm_90");
  const test::TempDir dir;
  Options options;
  options.cache_dir = dir / "cache";
  options.log = [](LogLevel, std::string_view) {};
  const std::vector<Spec> specs{GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64, .page_size = 16}};
  const PrewarmReport report = Runtime(options).prewarm(specs, std::vector{parse_arch(name)});
  REQUIRE(report.complete());
  CHECK(report.archs.back() == gpu_arch(90));
  CHECK(report.compiled == (name == "sm_90a" ? 2 : 4));
  CHECK(fake_cuda::loaded_code().empty());

  options.cache_mode = CacheMode::only;
  Runtime runtime(options);
  const Kernel kernel = runtime.get(specs[0]);
  CHECK(kernel.artifact().origin == Origin::disk);
  CHECK(to_string(kernel.artifact().arch) == "sm_90a");
  CHECK(fake_cuda::loaded_code().size() == 2);
  CHECK(runtime.stats().compiled + runtime.stats().refused == 0);
}

namespace {

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64, .page_size = 16};

/// One GPU of this compute capability.
void pose_as(int sm) {
  const int shared_bytes = sm >= 120 ? 101376 : 232448;
  fake_cuda::reset();
  fake_cuda::Machine machine;
  machine.gpus = {{.compute_major = sm / 10, .compute_minor = sm % 10, .shared_bytes_per_block = shared_bytes}};
  fake_cuda::set_machine(machine);
}

struct Warned {
  Options options;
  std::vector<std::string> warnings{};
  explicit Warned(const std::string& cache_dir) {
    options.cache_dir = cache_dir;
    options.log = [this](LogLevel level, std::string_view text) {
      if (level >= LogLevel::warn) warnings.emplace_back(text);
    };
  }
};

}  // namespace

TEST_CASE("a cache that was prewarmed for a family serves its later GPUs", "[cuda][no_compiler]") {
  struct Case {
    const char* prewarmed;
    int gpu;
    const char* serves;  // "" = nothing does
  };
  const Case one =
      GENERATE(Case{"sm_120", 121, "sm_120"}, Case{"sm_100", 103, "sm_100"}, Case{"sm_100f", 103, "sm_100f"},
               Case{"sm_120a", 121, ""}, Case{"sm_100", 121, ""}, Case{"compute_90", 121, "compute_90"},
               Case{"compute_121", 120, ""}, Case{"sm_103", 103, "sm_103"});
  CAPTURE(one.prewarmed, one.gpu);
  pose_as(one.gpu);
  const test::TempDir dir;
  Warned warned(dir / "cache");
  REQUIRE(Runtime(warned.options).prewarm(std::vector{kSpec}, std::vector{parse_arch(one.prewarmed)}).complete());
  if (std::string(one.prewarmed) == "sm_103") {
    // Plain code of the GPU itself, after its own was lost.
    for (const CacheEntry& each : cache_list(warned.options)) {
      if (each.target == "sm_103a") cache_remove(each.key, warned.options);
    }
  }
  for (const bool only : {true, false}) {
    CAPTURE(only);
    pose_as(one.gpu);
    warned.warnings.clear();
    warned.options.cache_mode = only ? CacheMode::only : CacheMode::rw;
    warned.options.nvrtc = only ? "" : "/nonexistent/libnvrtc.so.13";
    Runtime runtime(warned.options);
    if (*one.serves == '\0') {
      CHECK_THAT(message_of(only ? ErrorCode::not_cached : ErrorCode::no_nvrtc, [&] { runtime.get(kSpec); }),
                 Catch::Contains(only ? "is not in the cache" : "libnvrtc"));
      continue;
    }
    const Kernel kernel = runtime.get(kSpec);
    CHECK(kernel.artifact().origin == Origin::disk);
    CHECK(to_string(kernel.artifact().arch) == one.serves);
    CHECK(fake_cuda::loaded_code().size() == 2);
    REQUIRE(warned.warnings.size() == 1);  // not one for each kernel
    const std::string step = fmt::format("code for {} is used where sm_{}a would be best", one.serves, one.gpu);
    CHECK_THAT(warned.warnings[0], Catch::Contains(step));
  }
}

TEST_CASE("a GPU that is newer than NVRTC gets its family's code, then PTX for the driver", "[cuda][no_compiler]") {
  const auto [gpu, made] = GENERATE(table<int, std::string>({{121, "sm_120"},
                                                             {103, "sm_100"},
                                                             {120, "sm_120a"},
                                                             {110, "compute_100"},
                                                             {130, "compute_120"},
                                                             {90, "sm_90a"}}));
  CAPTURE(gpu);
  pose_as(gpu);
  const test::TempDir dir;
  Warned warned(dir / "cache");
  warned.options.nvrtc = LIBRT_FAKE_NVRTC_DIR "/12.8/libnvrtc.so.12.8";
  warned.options.cache_mode = CacheMode::off;
  Runtime runtime(warned.options);
  const Kernel kernel = runtime.get(kSpec);
  CHECK(to_string(kernel.artifact().arch) == made);
  CHECK(kernel.artifact().origin == Origin::compiled);
  CHECK(warned.warnings.size() == (made.back() == 'a' ? 0 : 1));
  if (made.back() != 'a') CHECK_THAT(warned.warnings[0], Catch::Contains("NVRTC 12.8 does not know it"));
  // What is asked for by name is never replaced.
  if (gpu == 121) {
    CHECK_THAT(message_of(ErrorCode::unsupported, [&] { runtime.compile(kSpec, parse_arch("sm_121a")); }),
               Catch::Contains("sm_121a is not supported by NVRTC 12.8"));
  }
}

TEST_CASE("code that needs more shared memory than the GPU has is no choice", "[cuda][no_compiler]") {
  // The tiles of sm_80 for 16 heads do not fit the GPUs of 8.6 and 8.9.
  const Spec spec = MlaDecodeSpec{.num_heads = 16, .page_size = 16};
  pose_as(89);
  fake_cuda::Machine machine;
  machine.gpus = {{.compute_major = 8, .compute_minor = 9, .shared_bytes_per_block = 101376}};
  fake_cuda::set_machine(machine);
  const test::TempDir dir;
  Warned warned(dir / "cache");
  REQUIRE(Runtime(warned.options).prewarm(std::vector{spec}, std::vector{parse_arch("sm_80")}).complete());
  warned.options.cache_mode = CacheMode::only;
  CHECK_THAT(message_of(ErrorCode::not_cached, [&] { Runtime(warned.options).get(spec); }),
             Catch::Contains("target (wanted sm_89, there sm_80)"));
}

}  // namespace librt::device
