// Without a usable GPU the whole run ends at its start: it says why, and exits with 77, which ctest reports as skipped.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <cstdlib>
#include <iostream>

namespace {

constexpr int kSkipped = 77;

class SkipWithoutGpu : public Catch::TestEventListenerBase {
 public:
  using Catch::TestEventListenerBase::TestEventListenerBase;

  void testRunStarting(const Catch::TestRunInfo&) override {
    try {
      librt::Options options = librt::Options::from_env();
      options.device = "cuda:0";
      const librt::DeviceInfo device = librt::Runtime(options).device();
      std::cout << "cuda:0 is " << device.name << ", " << librt::to_string(device.arch) << std::endl;
    } catch (const librt::Error& error) {
      std::cout << "skipped: " << error.what() << std::endl;
      std::exit(kSkipped);
    }
  }
};

CATCH_REGISTER_LISTENER(SkipWithoutGpu)

}  // namespace
