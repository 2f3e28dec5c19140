// Several GPUs in one process, and what is on them before the first launch.
#include <catch2/catch.hpp>

#include <thread>

#include "tests/gpu/stand.hpp"
#include "tests/runtime/fixture.hpp"
#include "tests/support/captured_stream.hpp"
#include "tests/support/temp_dir.hpp"

namespace librt::test {
namespace {

/// Names and devices of the kernels that the driver has in full.
std::map<std::string, int> loaded_in_full(int device) {
  std::map<std::string, int> loaded;
  for (const fake_cuda::LoadedCode& code : fake_cuda::loaded_code()) {
    const auto found = code.is_loaded.find(device);
    if (found != code.is_loaded.end() && found->second) ++loaded[code.kernel_name];
  }
  return loaded;
}

void capture_a_launch(Runtime& runtime) {
  const Batch batch = small_batch();
  const Kernel kernel = runtime.get(kGqa);
  const GqaLaunch launch(runtime, batch, split_plan(kernel, batch));
  CapturedStream stream(0);
  launch.stage(kernel, stream.handle());
  stream.capture([&] { launch.enqueue(kernel, stream.handle()); });
  stream.replay();
}

}  // namespace

TEST_CASE("two Runtimes, two GPUs that differ", "[runtime][devices]") {
  begin_on_fresh_machine();
  Runtime first(cuda_options("cuda:0"));
  Runtime second(cuda_options("cuda:1"));
  CHECK(to_string(first.device().arch) == "sm_90a");
  CHECK(to_string(second.device().arch) == "sm_80");
  CHECK(first.device().shared_bytes_per_block == 232448);
  CHECK(second.device().shared_bytes_per_block == 166912);
  CHECK(first.device().num_sms == 132);
  CHECK(second.device().num_sms == 108);

  const Kernel on_first = first.get(kGqa);
  const Kernel on_second = second.get(kGqa);
  CHECK(to_string(on_first.artifact().arch) == "sm_90a");
  CHECK(to_string(on_second.artifact().arch) == "sm_80");
  // Each library has the attribute of its own device and of no other.
  int decodes = 0;
  for (const fake_cuda::LoadedCode& code : fake_cuda::loaded_code()) {
    if (code.kernel_name != "librt_gqa_decode") continue;
    const int device = decodes++;
    const Kernel& kernel = device == 0 ? on_first : on_second;
    CHECK(code.max_dynamic_shared_bytes == std::map<int, int>{{device, kernel.artifact().shared_bytes}});
  }
  CHECK(decodes == 2);

  // Side by side: every launch in the context of its device.
  std::jthread other([&] {
    for (int i = 0; i < 20; ++i) whole_flow(second);
  });
  for (int i = 0; i < 20; ++i) whole_flow(first);
  other.join();
  std::map<const void*, int> launches;
  for (const fake_cuda::Launch& launch : fake_cuda::launches()) ++launches[launch.context];
  CHECK(launches ==
        std::map<const void*, int>{{fake_cuda::primary_context(0), 40}, {fake_cuda::primary_context(1), 40}});
}

TEST_CASE("a plan is data: it serves every device of its spec, merges included", "[runtime][devices]") {
  begin_on_fresh_machine();
  Runtime first(cuda_options("cuda:0")), second(cuda_options("cuda:1"));
  const Batch batch = small_batch();
  const Kernel on_first = first.get(kGqa), on_second = second.get(kGqa);
  const Plan plan = split_plan(on_first, batch);
  REQUIRE(plan.num_split_requests() > 0);
  GqaLaunch(second, batch, plan).enqueue(on_second);
  second.synchronize();
  std::map<const void*, int> launches;
  for (const fake_cuda::Launch& launch : fake_cuda::launches()) ++launches[launch.context];
  CHECK(launches == std::map<const void*, int>{{fake_cuda::primary_context(1), 2}});
}

TEST_CASE("GPUs of one kind share what is on disk", "[runtime][devices]") {
  fake_cuda::Machine machine = fake_machine();
  machine.gpus.resize(2);
  reset_fake(machine);
  const TempDir cache;
  Runtime first(cuda_options("cuda:0", cache.path()));
  Runtime second(cuda_options("cuda:1", cache.path()));
  const Kernel on_first = first.get(kGqa);
  const Kernel on_second = second.get(kGqa);
  CHECK(on_first.artifact().key == on_second.artifact().key);
  CHECK(first.stats().compiled == 2);
  CHECK(second.stats().compiled == 0);
  CHECK(second.stats().disk_hits == 2);
}

TEST_CASE("what is prepared is on the device in full, and get() makes no driver call", "[runtime][prepare]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  CHECK(loaded_in_full(0) == std::map<std::string, int>{{"librt_gqa_decode", 1}, {"librt_merge_states", 1}});
  const std::size_t calls = fake_cuda::calls().size();
  CHECK(&runtime.get(kGqa).artifact() == &kernel.artifact());
  CHECK(runtime.stats().memory_hits == 1);
  CHECK(fake_cuda::calls().size() == calls);
}

TEST_CASE("a kernel that is not loaded in full cannot be captured, one that is can", "[runtime][prepare]") {
  reset_fake();
  {
    Runtime runtime(cuda_options());
    CHECK_NOTHROW(capture_a_launch(runtime));
    CHECK(fake_cuda::launches().size() == 2);
  }
  // A driver whose cuFuncLoad does nothing shows what it is good for.
  reset_fake();
  fake_cuda::hide("cuFuncLoad");
  {
    Runtime runtime(cuda_options());
    CHECK_THROWS_WITH(capture_a_launch(runtime), Catch::Contains("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"));
    CHECK(fake_cuda::launches().empty());
  }
  // Drivers that do not have it load in cuKernelGetFunction.
  fake_cuda::Machine machine = fake_machine();
  machine.driver_version = 12030;
  reset_fake(machine);
  Runtime runtime(cuda_options());
  CHECK_NOTHROW(capture_a_launch(runtime));
  CHECK(fake_cuda::count("cuFuncLoad") == 0);
}

TEST_CASE("a kernel that is loaded during a capture is refused in words", "[runtime][prepare]") {
  reset_fake();
  Runtime runtime(cuda_options());
  (void)runtime.device();
  CapturedStream stream(0);
  CHECK_THROWS_WITH(stream.capture([&] { (void)runtime.get(kGqa); }),
                    Catch::Contains("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED") && Catch::Contains("prepare()"));
  CHECK(runtime.stats().compiled == 0);
  CHECK_NOTHROW(whole_flow(runtime));
}

}  // namespace librt::test
