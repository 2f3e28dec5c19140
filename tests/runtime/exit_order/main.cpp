// The end of a process: what is static is destroyed after the driver has shut down, or while a detached thread still
// works. Each scenario must end with exit code 0.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <thread>

#include "tests/runtime/fixture.hpp"

using namespace librt;
using namespace librt::test;

namespace {

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "%s\n", why);
  std::_Exit(1);
}

/// Constructed first, so destroyed last: looks at how it all ended.
struct Last {
  ~Last() {
    if (wants_calls_after_shut_down && fake_cuda::calls_after_shut_down() == 0) {
      fail("nothing was given back after the driver had shut down: the scenario shows nothing");
    }
    if (!is_driver_gone) fail("the driver did not shut down before the objects");
  }
  bool wants_calls_after_shut_down = false;
  bool is_driver_gone = false;
} last;

// In the order of their construction; destroyed the other way round, after all exit handlers of main's.
std::optional<Runtime> static_runtime;
std::optional<Kernel> static_kernel;
std::optional<Buffer> static_buffer;

/// As the driver does, which registers its own handler when it is opened: before the static objects are destroyed.
void shut_down_driver_at_exit() {
  std::atexit([] {
    fake_cuda::shut_down();
    last.is_driver_gone = true;
  });
}

void fill_statics() {
  static_runtime.emplace(cuda_options());
  static_kernel = static_runtime->get(kGqa);
  static_buffer = static_runtime->allocate(64);
  whole_flow(*static_runtime);
  last.wants_calls_after_shut_down = true;
}

void keep_kernel_alone() {
  Runtime runtime(cuda_options());
  static_kernel = runtime.get(kGqa);
  static_buffer = runtime.allocate(64);
  last.wants_calls_after_shut_down = true;
}

std::atomic<int> refused_calls{0};

/// Threads that nobody joins use a Runtime that is never destroyed, before, during and after the exit handlers.
void start_detached_threads() {
  static Runtime* const runtime = new Runtime(cuda_options());
  static const Kernel* const kernel = new Kernel(runtime->get(kGqa));
  static const Batch* const batch = new Batch(small_batch());
  static const GqaLaunch* const launch = new GqaLaunch(*runtime, *batch, split_plan(*kernel, *batch));
  for (int i = 0; i < 3; ++i) {
    std::thread([] {
      for (;;) {
        try {
          launch->enqueue(runtime->get(kGqa));
          runtime->synchronize();
          (void)runtime->allocate(16);
        } catch (const Error& error) {
          if (error.code() != ErrorCode::driver ||
              std::string_view(error.what()).find("exiting") == std::string::npos) {
            fail(error.what());
          }
          ++refused_calls;
        }
      }
    }).detach();
  }
  // Registered before the driver's: runs after it, and holds the exit open.
  std::atexit([] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (refused_calls < 1000) {
      if (std::chrono::steady_clock::now() > end) fail("the detached threads did not go on after the driver shut down");
      std::this_thread::yield();
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view scenario = argc > 1 ? argv[1] : "";
  reset_fake();
  if (scenario == "statics") {
    fill_statics();
  } else if (scenario == "kernel_alone") {
    keep_kernel_alone();
  } else if (scenario == "detached_threads") {
    start_detached_threads();
  } else {
    fail("usage: exit_order statics|kernel_alone|detached_threads");
  }
  shut_down_driver_at_exit();
  return 0;
}
