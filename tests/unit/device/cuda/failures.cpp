// Each entry of the driver fails in turn: a clear error each time, nothing leaked.
#include <algorithm>
#include <vector>

#include "src/device/cuda/driver.hpp"
#include "src/device/cuda/error_names.hpp"
#include "tests/unit/device/cuda/fixture.hpp"

namespace librt::device {

namespace {

using Catch::Contains;

struct FailingEntry {
  const char* name;
  ErrorCode expected;
};

constexpr int kNotPermitted = 800;

}  // namespace

TEST_CASE("every entry that fails is named in the error, and nothing is leaked", "[cuda]") {
  const auto entry = GENERATE(
      FailingEntry{"cuInit", ErrorCode::no_device}, FailingEntry{"cuDriverGetVersion", ErrorCode::no_device},
      FailingEntry{"cuGetProcAddress", ErrorCode::no_device}, FailingEntry{"cuDeviceGetCount", ErrorCode::no_device},
      FailingEntry{"cuDeviceGet", ErrorCode::no_device}, FailingEntry{"cuDeviceGetName", ErrorCode::no_device},
      FailingEntry{"cuDeviceGetAttribute", ErrorCode::no_device},
      FailingEntry{"cuDevicePrimaryCtxRetain", ErrorCode::no_device},
      FailingEntry{"cuCtxGetCurrent", ErrorCode::driver}, FailingEntry{"cuCtxPushCurrent", ErrorCode::driver},
      FailingEntry{"cuLibraryLoadData", ErrorCode::driver}, FailingEntry{"cuLibraryGetKernel", ErrorCode::driver},
      FailingEntry{"cuKernelSetAttribute", ErrorCode::driver}, FailingEntry{"cuKernelGetFunction", ErrorCode::driver},
      FailingEntry{"cuFuncLoad", ErrorCode::driver}, FailingEntry{"cuKernelGetParamInfo", ErrorCode::driver},
      FailingEntry{"cuMemAlloc", ErrorCode::driver}, FailingEntry{"cuMemcpyHtoD", ErrorCode::driver},
      FailingEntry{"cuStreamSynchronize", ErrorCode::driver}, FailingEntry{"cuMemcpyHtoDAsync", ErrorCode::driver},
      FailingEntry{"cuStreamIsCapturing", ErrorCode::driver}, FailingEntry{"cuEventCreate", ErrorCode::driver},
      FailingEntry{"cuEventRecord", ErrorCode::driver}, FailingEntry{"cuEventQuery", ErrorCode::driver},
      FailingEntry{"cuEventSynchronize", ErrorCode::driver}, FailingEntry{"cuMemHostAlloc", ErrorCode::driver},
      FailingEntry{"cuLaunchKernelEx", ErrorCode::driver}, FailingEntry{"cuCtxSynchronize", ErrorCode::driver},
      FailingEntry{"cuMemcpyDtoH", ErrorCode::driver});
  INFO(entry.name);
  fake_cuda::reset();
  fake_cuda::fail(entry.name, kNotPermitted);
  const std::string message = message_of(entry.expected, use_everything);
  CHECK_THAT(message, Contains(entry.name));
  CHECK_THAT(message, Contains("CUDA_ERROR_NOT_PERMITTED (800)"));
  if (entry.expected == ErrorCode::no_device) CHECK_THAT(message, Contains("LIBRT_DEVICE=virtual"));
  require_nothing_outstanding();
}

TEST_CASE("entries that give something back may fail without harm", "[cuda]") {
  const std::string entry = GENERATE("cuMemFree", "cuLibraryUnload", "cuDevicePrimaryCtxRelease", "cuCtxPopCurrent",
                                     "cuEventDestroy", "cuMemFreeHost");
  fake_cuda::reset();
  fake_cuda::fail(entry, cuda::kDeinitialized);
  CHECK_NOTHROW(use_everything());
  CHECK(fake_cuda::count(entry) > 0);
  fake_cuda::reset();
}

TEST_CASE("a driver without a required entry is refused by name", "[cuda]") {
  const std::string entry = GENERATE("cuDeviceGetCount", "cuLibraryLoadData", "cuLaunchKernelEx", "cuMemcpyHtoDAsync");
  fake_cuda::reset();
  fake_cuda::hide(entry);
  const std::string message = message_of(ErrorCode::no_device, use_everything);
  CHECK_THAT(message, Contains(entry) && Contains("CUDA 12.0"));
  require_nothing_outstanding();
}

TEST_CASE("why there is no device is said in words", "[cuda]") {
  fake_cuda::reset();
  fake_cuda::Machine machine;

  SECTION("no driver") {
    const std::string message =
        message_of(ErrorCode::no_device, [] { cuda::Driver::open("libcuda-that-does-not-exist.so.1"); });
    CHECK_THAT(message, Contains("no NVIDIA driver is installed") && Contains("LIBRT_DEVICE=virtual") &&
                            Contains("libcuda-that-does-not-exist.so.1"));
  }
  SECTION("not a driver at all") {
    const std::string message = message_of(ErrorCode::no_device, [] { cuda::Driver::open("libm.so.6"); });
    CHECK_THAT(message, Contains("cuInit") && Contains("libm.so.6"));
  }
  SECTION("the stub") {
    fake_cuda::fail("cuInit", cuda::kStubLibrary);
    const std::string message = message_of(ErrorCode::no_device, [] { open_cuda_device(0); });
    CHECK_THAT(message,
               Contains("stub") && Contains("CUDA_ERROR_STUB_LIBRARY (34)") && Contains("LIBRT_DEVICE=virtual"));
  }
  SECTION("no GPU") {
    machine.gpus.clear();
    fake_cuda::set_machine(machine);
    const std::string message = message_of(ErrorCode::no_device, [] { open_cuda_device(0); });
    CHECK_THAT(message, Contains("sees no GPU") && Contains("(100)"));
  }
  SECTION("no such GPU") {
    machine.gpus.resize(2);
    fake_cuda::set_machine(machine);
    const std::string message = message_of(ErrorCode::no_device, [] { open_cuda_device(2); });
    CHECK_THAT(message, Contains("no cuda:2") && Contains("sees 2 GPUs, numbered from 0 to 1"));
  }
  SECTION("a driver that is too old") {
    machine.driver_version = 11080;
    fake_cuda::set_machine(machine);
    const std::string message = message_of(ErrorCode::no_device, [] { open_cuda_device(0); });
    CHECK_THAT(message, Contains("supports CUDA up to 11.8") && Contains("12.0 or later"));
  }
  SECTION("a GPU that is too old") {
    machine.gpus[0].compute_major = 7;
    machine.gpus[0].compute_minor = 5;
    fake_cuda::set_machine(machine);
    const std::string message = message_of(ErrorCode::no_device, [] { open_cuda_device(0); });
    CHECK_THAT(message, Contains("compute capability 7.5") && Contains("8.0 or later"));
  }
  SECTION("a GPU that somebody else holds") {
    fake_cuda::fail("cuDevicePrimaryCtxRetain", cuda::kDeviceUnavailable);
    const std::string message = message_of(ErrorCode::no_device, [] { open_cuda_device(0); });
    CHECK_THAT(message, Contains("exclusive mode"));
  }
  require_nothing_outstanding();
}

TEST_CASE("an open that failed can be repeated", "[cuda]") {
  fake_cuda::reset();
  fake_cuda::fail("cuInit", cuda::kSystemNotReady);
  CHECK_THROWS_AS(open_cuda_device(0), Error);
  fake_cuda::reset();
  CHECK(open_cuda_device(0)->properties().name == "Fake GPU");
}

TEST_CASE("driver errors have names without the driver", "[cuda]") {
  CHECK(cuda::error_name(0) == "CUDA_SUCCESS");
  CHECK(cuda::error_name(1) == "CUDA_ERROR_INVALID_VALUE");
  CHECK(cuda::error_name(100) == "CUDA_ERROR_NO_DEVICE");
  CHECK(cuda::error_name(999) == "CUDA_ERROR_UNKNOWN");
  CHECK(cuda::error_name(12345) == "unknown CUDA error");
  CHECK(cuda::error_name(-1) == "unknown CUDA error");
  CHECK(cuda::describe_error("cuFoo", 201) == "cuFoo failed: CUDA_ERROR_INVALID_CONTEXT (201)");
  CHECK_THAT(cuda::describe_error("cuFoo", cuda::kIllegalAddress), Contains("restarted"));
}

}  // namespace librt::device
