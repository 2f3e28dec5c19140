// What a prewarm makes for a kind of GPU is what such a GPU asks for.
#include <librt/librt.hpp>

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

}  // namespace librt::device
