// A memory hit takes no lock; a launch allocates nothing, takes no lock and reads no environment variable.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <mutex>
#include <thread>

#include "src/util/env.hpp"
#include "tests/runtime/fixture.hpp"
#include "tests/runtime/hot_path/counting.hpp"

namespace librt::test {
namespace {

constexpr int kTimes = 100;

template <class Work>
std::string counted(const Work& work) {
  const Counting counting;
  for (int i = 0; i < kTimes; ++i) work();
  return to_string(counting.counts());
}

const std::string kNothing = to_string(Counts{});

const Spec kMla = MlaDecodeSpec{.num_heads = 16, .page_size = 64};

}  // namespace

TEST_CASE("the counting sees each kind of thing", "[hot_path]") {
  std::mutex mutex;
  Counting counting;
  CHECK(counting.counts() == Counts{});
  int* volatile made = new int;  // volatile, or the compiler leaves the pair out
  delete made;
  void* volatile memory = std::malloc(1);
  std::free(memory);
  { const std::lock_guard lock(mutex); }
  (void)std::getenv("PATH");
  (void)util::env("PATH");
  const Counts counts = counting.counts();
  CHECK(counts.allocations >= 2);
  CHECK(counts.deallocations >= 2);
  CHECK(counts.locks == 1);
  CHECK(counts.environment == 2);
}

TEST_CASE("a memory hit allocates nothing, takes no lock and reads no environment variable", "[hot_path]") {
  reset_fake();
  Runtime runtime(cuda_options());
  (void)runtime.get(kGqa);
  const std::uint64_t hits = runtime.stats().memory_hits;
  CHECK(counted([&] { (void)runtime.get(kGqa); }) == kNothing);
  CHECK(runtime.stats().memory_hits == hits + kTimes);
  // While another thread makes another kernel, too.
  std::jthread other(
      [&] { (void)runtime.get(GqaDecodeSpec{.num_qo_heads = 4, .num_kv_heads = 1, .head_dim = 80, .page_size = 4}); });
  CHECK(counted([&] { (void)runtime.get(kGqa); }) == kNothing);
}

TEST_CASE("a launch allocates nothing, takes no lock and reads no environment variable", "[hot_path]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Batch batch = small_batch();
  const Kernel kernel = runtime.get(kGqa);
  const GqaLaunch launch(runtime, batch, split_plan(kernel, batch));
  REQUIRE(launch.plan().num_split_requests() > 0);
  CHECK(counted([&] { launch.enqueue(kernel); }) == kNothing);
  CHECK(fake_cuda::launches().size() == 2 * kTimes);  // the decode and the merge
  CHECK(fake_cuda::async_copies().empty());

  SECTION("nor in a thread that never met CUDA") {
    std::string seen;
    std::jthread([&] { seen = counted([&] { launch.enqueue(kernel); }); }).join();
    CHECK(seen == kNothing);
  }
  SECTION("nor in a program that has a context of its own current") {
    (void)fake_cuda::push_foreign_context();
    CHECK(counted([&] { launch.enqueue(kernel); }) == kNothing);
  }
}

TEST_CASE("a step is one upload, however many layers it has", "[hot_path]") {
  constexpr std::size_t kLayers = 61;
  reset_fake();
  Runtime runtime(cuda_options());
  const Batch batch = small_batch();
  const Kernel kernel = runtime.get(kGqa);
  const GqaLaunch launch(runtime, batch, split_plan(kernel, batch));
  launch.stage(kernel);
  for (std::size_t layer = 0; layer < kLayers; ++layer) launch.enqueue(kernel);
  CHECK(fake_cuda::async_copies().size() == 1);
  CHECK(fake_cuda::launches().size() == 2 * kLayers);
}

TEST_CASE("a launch of MLA likewise", "[hot_path]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Batch batch = make_batch(kMla, {.kv_lens = {70, 200}});
  const Kernel kernel = runtime.get(kMla);
  const Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = {.split_pages = 1}});
  REQUIRE(plan.num_split_requests() > 0);
  const Buffer memory = runtime.allocate(1 << 20);
  const Buffer workspace = runtime.allocate(plan.workspace_bytes());
  const Buffer out = runtime.allocate(1 << 20);
  const Buffer lse = runtime.allocate(1 << 20);
  const auto* ints = memory.as<std::int32_t>();
  const MlaDecodeArgs args{.q_nope = memory.data(),
                           .q_pe = memory.data(),
                           .ckv_pages = batch.first.on_device(memory),
                           .kpe_pages = batch.second.on_device(memory),
                           .kv_indptr = ints,
                           .kv_indices = ints,
                           .kv_last_page_len = ints,
                           .out = out.data(),
                           .lse = lse.as<float>(),
                           .workspace = workspace,
                           .sm_scale = 1};
  CHECK(counted([&] { kernel.launch(plan, args); }) == kNothing);
  CHECK(fake_cuda::launches().size() == 2 * kTimes);
}

}  // namespace librt::test
