// Launches, copies and contexts.
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <optional>
#include <thread>
#include <vector>

#include "tests/unit/device/cuda/fixture.hpp"

namespace librt::device {

namespace {

using Catch::Contains;
using Catch::Equals;

StreamHandle stream_number(std::uintptr_t number) {
  return reinterpret_cast<StreamHandle>(number);
}

}  // namespace

TEST_CASE("everything works in order and gives back what it took", "[cuda]") {
  fake_cuda::reset();
  use_everything();
  std::vector<std::string> calls = fake_cuda::calls();
  std::erase_if(calls, [](const std::string& call) { return call.starts_with("cuCtx") && call != "cuCtxSynchronize"; });
  CHECK_THAT(calls, Equals(std::vector<std::string>{"cuInit",
                                                    "cuDriverGetVersion",
                                                    "cuDeviceGetCount",
                                                    "cuDeviceGet",
                                                    "cuDevicePrimaryCtxRetain",
                                                    "cuDeviceGetName",
                                                    "cuDeviceGetAttribute",
                                                    "cuDeviceGetAttribute",
                                                    "cuDeviceGetAttribute",
                                                    "cuDeviceGetAttribute",
                                                    "cuLibraryLoadData",
                                                    "cuLibraryGetKernel",
                                                    "cuKernelSetAttribute",
                                                    "cuKernelGetFunction",
                                                    "cuFuncLoad",
                                                    "cuKernelGetParamInfo",
                                                    "cuMemAlloc",
                                                    "cuMemcpyHtoD",
                                                    "cuStreamSynchronize",
                                                    "cuEventCreate",
                                                    "cuMemHostAlloc",
                                                    "cuStreamIsCapturing",
                                                    "cuMemcpyHtoDAsync",
                                                    "cuEventRecord",
                                                    "cuEventQuery",
                                                    "cuEventSynchronize",
                                                    "cuLaunchKernelEx",
                                                    "cuCtxSynchronize",
                                                    "cuMemcpyDtoH",
                                                    "cuEventSynchronize",
                                                    "cuEventDestroy",
                                                    "cuMemFreeHost",
                                                    "cuMemFree",
                                                    "cuLibraryUnload",
                                                    "cuDevicePrimaryCtxRelease"}));
  require_nothing_outstanding();
}

TEST_CASE("a launch hands over grid, block, shared memory, stream and parameters", "[cuda]") {
  fake_cuda::reset();
  const auto kernel = open_cuda_device(0)->load(make_artifact());
  kernel->launch({.x = 5, .y = 8, .z = 2}, kParameters, stream_number(0x1230));
  REQUIRE(fake_cuda::launches().size() == 1);
  const fake_cuda::Launch launch = fake_cuda::launches().front();
  CHECK(std::vector<unsigned>(launch.grid, launch.grid + 3) == std::vector<unsigned>{5, 8, 2});
  CHECK(std::vector<unsigned>(launch.block, launch.block + 3) == std::vector<unsigned>{128, 1, 1});
  CHECK(launch.shared_bytes == 73984);
  CHECK(launch.stream == stream_number(0x1230));
  CHECK(launch.num_attributes == 0);
  CHECK(launch.context == fake_cuda::primary_context());
  CHECK(launch.parameters == std::vector<std::byte>(kParameters.begin(), kParameters.end()));
}

TEST_CASE("a launch that cannot be is refused by name", "[cuda]") {
  fake_cuda::reset();
  const auto kernel = open_cuda_device(0)->load(make_artifact());
  const auto launch = [&](Grid grid) {
    return message_of(ErrorCode::invalid_argument, [&] { kernel->launch(grid, kParameters, nullptr); });
  };
  CHECK_THAT(launch({.x = 0}), Contains("grid.x is 0"));
  CHECK_THAT(launch({.y = 65536}), Contains("grid.y is 65536") && Contains("1..65535"));
  CHECK_THAT(launch({.z = 0}), Contains("grid.z is 0"));
  CHECK_THAT(launch({.x = std::numeric_limits<unsigned>::max()}), Contains("grid.x is 4294967295"));
  const std::array<std::byte, 8> too_short{};
  CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { kernel->launch({}, too_short, nullptr); }),
             Contains("params has 8 bytes, the kernel takes 16"));
  CHECK(fake_cuda::launches().empty());
}

TEST_CASE("a kernel outlives its device", "[cuda]") {
  fake_cuda::reset();
  auto kernel = open_cuda_device(0)->load(make_artifact());
  CHECK(fake_cuda::outstanding().contexts == 1);
  CHECK_NOTHROW(kernel->launch({}, kParameters, nullptr));
  kernel.reset();
  require_nothing_outstanding();
}

TEST_CASE("the caller's own context is current again after every call", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  const auto kernel = device->load(make_artifact());
  const void* foreign = fake_cuda::push_foreign_context();
  const Address address = device->allocate(64);
  std::array<std::byte, 64> bytes{};
  device->upload(address, bytes);
  const auto pinned = device->allocate_pinned(bytes.size());
  pinned->upload_async(address, bytes.size(), nullptr);
  (void)pinned->is_busy();
  pinned->wait();
  kernel->launch({}, kParameters, nullptr);
  device->synchronize();
  device->download(bytes, address);
  device->release(address);
  CHECK_THROWS_AS(device->download(bytes, 12345), Error);
  CHECK(fake_cuda::current_context() == foreign);
  CHECK(fake_cuda::outstanding().context_depth == 1);
  CHECK(fake_cuda::launches().front().context == fake_cuda::primary_context());
}

TEST_CASE("threads that never met CUDA can launch side by side", "[cuda]") {
  fake_cuda::reset();
  const auto kernel = open_cuda_device(0)->load(make_artifact());
  constexpr int kThreads = 8;
  constexpr int kLaunches = 50;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < kLaunches; ++i) kernel->launch({.x = 3}, kParameters, nullptr);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto launches = fake_cuda::launches();
  CHECK(launches.size() == kThreads * kLaunches);
  for (const auto& launch : launches) CHECK(launch.context == fake_cuda::primary_context());
  CHECK(fake_cuda::count("cuCtxPushCurrent") == fake_cuda::count("cuCtxPopCurrent"));
}

TEST_CASE("bytes travel to the device and back", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  const Address address = device->allocate(8);
  const std::array<std::byte, 4> sent = {std::byte{9}, std::byte{8}, std::byte{7}, std::byte{6}};
  device->upload(address + 4, sent);
  const auto pinned = device->allocate_pinned(16);
  std::ranges::copy(sent, pinned->bytes().begin());
  pinned->upload_async(address, sent.size(), stream_number(0x77));
  CHECK(pinned->is_busy());
  std::array<std::byte, 8> received{};
  device->download(received, address);
  CHECK(received == std::array{std::byte{9}, std::byte{8}, std::byte{7}, std::byte{6}, std::byte{9}, std::byte{8},
                               std::byte{7}, std::byte{6}});
  CHECK_FALSE(pinned->is_busy());
  REQUIRE(fake_cuda::async_copies().size() == 1);
  CHECK(fake_cuda::async_copies().front().stream == stream_number(0x77));
  CHECK(fake_cuda::async_copies().front().device_address == address);
  CHECK(fake_cuda::async_copies().front().bytes == 4);
  device->release(address);
}

TEST_CASE("nothing to copy, nothing to free: no driver call", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  const std::size_t before = fake_cuda::calls().size();
  device->upload(0, {});
  device->download({}, 0);
  device->release(0);
  CHECK(fake_cuda::calls().size() == before);
}

TEST_CASE("an allocation of 0 bytes has an address that can be released", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  const Address address = device->allocate(0);
  CHECK(address != 0);
  device->release(address);
  CHECK(fake_cuda::outstanding().allocations == 0);
}

TEST_CASE("an allocation that does not fit says how much was asked for", "[cuda]") {
  fake_cuda::reset();
  const auto device = open_cuda_device(0);
  fake_cuda::fail("cuMemAlloc", 2);
  CHECK_THAT(message_of(ErrorCode::driver, [&] { (void)device->allocate(1000003); }),
             Contains("1000003 bytes") && Contains("CUDA_ERROR_OUT_OF_MEMORY (2)"));
}

TEST_CASE("a forked child makes no driver call for what it inherited", "[cuda]") {
  fake_cuda::reset();
  std::optional<std::shared_ptr<Device>> device = open_cuda_device(0);
  auto kernel = (*device)->load(make_artifact());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    kernel.reset();
    device.reset();
    _exit(fake_cuda::calls_after_fork() == 0 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace librt::device
