#include <librt/error.hpp>

#include <catch2/catch.hpp>

#include <string>

#include "src/device/device.hpp"

namespace librt::device {
namespace {

constexpr const char* kForEver = R"(
.version 8.0
.target sm_80
.address_size 64
.visible .entry spin(.param .u64 unused)
{
AGAIN:
  bra AGAIN;
}
)";

TEST_CASE("A kernel that never ends is stopped, and the error says what stopped it", "[virtual]") {
  const auto device = open_virtual_device(parse_arch("sm_80"), 1, 100'000);
  Artifact artifact;
  artifact.kernel = "spin";
  artifact.entry = "spin";
  artifact.ptx = kForEver;
  artifact.block_threads = 32;
  const std::uint64_t unused = 0;
  const auto kernel = device->load(artifact);
  for (int i = 0; i < 2; ++i) {  // the device stays usable
    try {
      kernel->launch({}, std::as_bytes(std::span(&unused, 1)), nullptr);
      FAIL("it ended");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::device_fault);
      const std::string what = error.what();
      CHECK(what.find("more than 100000 warp instructions") != std::string::npos);
      CHECK(what.find("LIBRT_VIRTUAL_INSTRUCTION_LIMIT") != std::string::npos);
    }
  }
}

TEST_CASE("A release of what is not the device's, or without memory for a message, is no exception", "[virtual]") {
  const auto device = open_virtual_device(parse_arch("sm_80"), 1);
  device->release(4711);
  const Address address = device->allocate(16);
  device->release(address);
  device->release(address);
  SUCCEED();
}

}  // namespace
}  // namespace librt::device
