// The fault matrix, faults 26 and 27: what only a driver can refuse. Compiled twice: gpu_tests runs it on a GPU,
// runtime_tests against the stand-in for libcuda, which shows all but the results.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "src/jit/elf.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"
#include "tests/gpu/stand.hpp"
#include "tests/support/captured_stream.hpp"
#include "tests/support/decode.hpp"
#include "tests/support/gqa_launch.hpp"
#include "tests/support/temp_dir.hpp"

namespace librt::test {
namespace {

constexpr int kSharedBytesWithoutAttribute = 48 * 1024;

// Takes more shared memory than a launch gets unasked, on every architecture.
const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 128, .page_size = 16};

Batch split_batch() {
  return make_batch(kSpec, {.kv_lens = {13, 0, 200, 64}});
}

Options options_in(const TempDir& cache, int ordinal = 0) {
  Options options = Options::from_env();
  options.cache_dir = cache.path();
  options.device = fmt::format("cuda:{}", ordinal);
  options.log = [](LogLevel, std::string_view) {};
  return options;
}

Plan split_plan(const Kernel& kernel, const Batch& batch) {
  Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = {.split_pages = 2}});
  REQUIRE(plan.num_split_requests() > 0);
  return plan;
}

std::string wrong_result(Runtime& runtime, const Batch& batch, const GqaLaunch& launch) {
  return kernels_run() ? difference(batch, launch.download(runtime, batch), expected_of(batch)) : "";
}

std::string wrong_decode(Runtime& runtime, const Kernel& kernel) {
  const Batch batch = split_batch();
  const GqaLaunch launch(runtime, batch, split_plan(kernel, batch));
  launch.stage(kernel);
  launch.enqueue(kernel);
  runtime.synchronize();
  return wrong_result(runtime, batch, launch);
}

/// Makes a cubin on disk one that no driver takes, in an entry that is sound: its checksum is right, and its ELF says
/// all that the cache looks for. Code is not looked at before it runs, so the version of the ELF's layout is one of a
/// toolkit far in the future as well.
void damage_code(const std::string& entry, const Artifact& artifact) {
  std::vector<std::byte> file = util::read_file(entry, 64 << 20);
  const auto cubin = std::search(file.begin(), file.end(), artifact.cubin.begin(), artifact.cubin.end());
  REQUIRE(cubin != file.end());
  const jit::ElfFile elf(artifact.cubin);
  const jit::ElfSection* const code = elf.find(".text." + artifact.entry);
  REQUIRE(code != nullptr);
  std::fill_n(cubin + static_cast<std::ptrdiff_t>(code->offset), code->bytes.size(), std::byte{0xff});
  constexpr std::ptrdiff_t kAbiVersion = 8;
  *(cubin + kAbiVersion) = std::byte{0x7f};
  const util::Digest checksum = util::hash(std::span<const std::byte>(file).first(file.size() - util::Digest{}.size()));
  std::copy(checksum.begin(), checksum.end(), file.end() - static_cast<std::ptrdiff_t>(checksum.size()));
  util::write_file(entry, file);
}

}  // namespace

TEST_CASE("F26 driver rejects cubin", "[gpu][fault]") {
  begin_on_fresh_machine();
  const TempDir cache;
  const Options options = options_in(cache);
  const Artifact sound = Runtime(options).get(kSpec).artifact();
  REQUIRE(sound.origin == Origin::compiled);
  damage_code(cache_show(sound.key, options).entry.path, sound);
  for (const CacheVerdict& verdict : cache_verify(options)) CHECK(verdict.finding == CacheFinding::ok);

  {
    Runtime runtime(options);
    const Kernel kernel = runtime.get(kSpec);
    CHECK(runtime.stats().compiled == 1);  // the decode; the merge is sound
    CHECK(kernel.artifact().origin == Origin::compiled);
    CHECK(kernel.artifact().cubin == sound.cubin);
    CHECK(wrong_decode(runtime, kernel) == "");
  }
  Runtime later(options);
  const Kernel kernel = later.get(kSpec);
  CHECK(kernel.artifact().origin == Origin::disk);
  CHECK(kernel.artifact().cubin == sound.cubin);
  CHECK(later.stats().compiled == 0);
  CHECK(wrong_decode(later, kernel) == "");
}

TEST_CASE("F27 two devices, shared memory above 48 KiB", "[gpu][fault]") {
  begin_on_fresh_machine();
  const int gpus = num_gpus();
  if (gpus < 2) WARN("there is one GPU only: that the second gets its attributes too is not shown");
  const TempDir cache;
  std::vector<std::unique_ptr<Runtime>> runtimes;
  std::vector<Kernel> kernels;
  for (int ordinal = 0; ordinal < gpus; ++ordinal) {
    runtimes.push_back(std::make_unique<Runtime>(options_in(cache, ordinal)));
    kernels.push_back(runtimes.back()->get(kSpec));
    INFO("cuda:" << ordinal << " is " << runtimes.back()->device().name);
    CHECK(kernels.back().artifact().shared_bytes > kSharedBytesWithoutAttribute);
    CHECK(kernels.back().artifact().shared_bytes <= runtimes.back()->device().shared_bytes_per_block);
  }
  // Each after all have been loaded, twice: what one device was told must not have changed another.
  for (int round = 0; round < 2; ++round) {
    for (std::size_t i = 0; i < kernels.size(); ++i) {
      INFO("cuda:" << i << ", round " << round);
      CHECK(wrong_decode(*runtimes[i], kernels[i]) == "");
    }
  }
}

TEST_CASE("F27 first use inside graph capture", "[gpu][fault]") {
  begin_on_fresh_machine();
  const TempDir cache;
  Runtime runtime(options_in(cache));
  const Batch batch = split_batch();
  const Kernel prepared = runtime.get(kSpec);
  const GqaLaunch launch(runtime, batch, split_plan(prepared, batch));
  CapturedStream stream(0);
  const std::uint64_t hits = runtime.stats().memory_hits;
  // The decode and the merge are launched for the first time here.
  REQUIRE_NOTHROW(stream.capture([&] { launch.enqueue(runtime.get(kSpec), stream.handle()); }));
  CHECK(runtime.stats().memory_hits == hits + 1);
  for (int replays = 0; replays < 2; ++replays) {
    stream.replay();
    CHECK(wrong_result(runtime, batch, launch) == "");
  }
}

}  // namespace librt::test
