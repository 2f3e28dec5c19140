#include <librt/error.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <future>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "src/device/device.hpp"
#include "src/device/virtual/launcher.hpp"
#include "tests/support/in_child.hpp"

namespace librt::device {

namespace {

using Catch::Contains;

struct Parameters {
  Address out;
  std::uint32_t start;
  std::uint32_t count;  // elements that may be written
};

/// out[i] = start + i for i < count, i = block * blockDim + thread.
constexpr const char* kFill = R"(
.version 8.0
.target sm_80
.address_size 64

.visible .entry fill(.param .align 8 .b8 fill_param_0[16])
{
  .reg .pred %p<2>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [fill_param_0];
  ld.param.u32 %r1, [fill_param_0+8];
  ld.param.u32 %r2, [fill_param_0+12];
  mov.u32 %r3, %ctaid.x;
  mov.u32 %r4, %ntid.x;
  mov.u32 %r5, %tid.x;
  mad.lo.s32 %r6, %r3, %r4, %r5;
  setp.ge.u32 %p1, %r6, %r2;
  @%p1 bra DONE;
  mul.wide.u32 %rd2, %r6, 4;
  add.s64 %rd3, %rd1, %rd2;
  add.s32 %r7, %r1, %r6;
  st.global.u32 [%rd3], %r7;
DONE:
  ret;
}
)";

Artifact fill_artifact() {
  Artifact artifact;
  artifact.kernel = "fill";
  artifact.entry = "fill";
  artifact.arch = parse_arch("compute_80");
  artifact.ptx = kFill;
  artifact.block_threads = 64;
  return artifact;
}

std::shared_ptr<Device> open(std::string_view arch = "sm_80", unsigned threads = 1) {
  return open_virtual_device(parse_arch(arch), threads);
}

std::span<const std::byte> bytes_of(const Parameters& parameters) {
  return std::as_bytes(std::span(&parameters, 1));
}

std::vector<std::uint32_t> fetch(Device& device, Address from, std::size_t count) {
  std::vector<std::uint32_t> values(count);
  device.download(std::as_writable_bytes(std::span(values)), from);
  return values;
}

std::vector<std::uint32_t> counting_from(std::uint32_t start, std::size_t count) {
  std::vector<std::uint32_t> values(count);
  std::iota(values.begin(), values.end(), start);
  return values;
}

std::string message_of(ErrorCode code, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(error.code() == code);
    return error.what();
  }
  FAIL("nothing was thrown, expected " << to_string(code));
  return {};
}

}  // namespace

TEST_CASE("the virtual device poses as an architecture", "[virtual]") {
  const auto device = open("sm_90a");
  const Properties& properties = device->properties();
  CHECK(properties.name == "virtual:sm_90a");
  CHECK(properties.is_virtual);
  CHECK(to_string(properties.arch) == "compute_90a");
  CHECK(properties.num_sms == 132);
  CHECK(properties.shared_bytes_per_block == 227 * 1024);
  CHECK(open_virtual_device(parse_arch("compute_86"), 1)->properties().name == "virtual:sm_86");
  CHECK_THAT(message_of(ErrorCode::invalid_argument, [] { open("sm_75"); }), Contains("sm_75") && Contains("sm_80"));
}

TEST_CASE("the virtual device runs the PTX of an artifact", "[virtual]") {
  const unsigned threads = GENERATE(0U, 1U, 3U);
  const auto device = open("sm_80", threads);
  const auto kernel = device->load(fill_artifact());
  constexpr std::size_t kCount = 300;
  const Address out = device->allocate(kCount * 4);
  kernel->launch({.x = 5}, bytes_of({out, 1000, kCount}), nullptr);
  device->synchronize();
  CHECK(fetch(*device, out, kCount) == counting_from(1000, kCount));
}

TEST_CASE("an artifact for another architecture runs as it is", "[virtual]") {
  const auto device = open("sm_120");
  Artifact artifact = fill_artifact();
  artifact.arch = parse_arch("sm_90a");
  artifact.cubin.resize(16);
  const auto kernel = device->load(artifact);
  const Address out = device->allocate(64 * 4);
  kernel->launch({}, bytes_of({out, 5, 64}), nullptr);
  CHECK(fetch(*device, out, 64) == counting_from(5, 64));
}

TEST_CASE("a kernel outlives its device", "[virtual]") {
  auto device = open();
  const auto kernel = device->load(fill_artifact());
  const Address out = device->allocate(64 * 4);
  device.reset();
  CHECK_NOTHROW(kernel->launch({}, bytes_of({out, 0, 64}), nullptr));
}

TEST_CASE("a kernel that leaves its buffer is stopped, and the device stays usable", "[virtual]") {
  const auto device = open();
  const auto kernel = device->load(fill_artifact());
  const Address out = device->allocate(100);
  const std::string message = message_of(ErrorCode::device_fault, [&] {
    kernel->launch({}, bytes_of({out, 0, 26}), nullptr);
  });
  CHECK_THAT(message, Contains("fill on virtual:sm_80") && Contains("st.global.u32") && Contains("100 bytes"));
  kernel->launch({}, bytes_of({out, 7, 25}), nullptr);
  CHECK(fetch(*device, out, 25) == counting_from(7, 25));
}

TEST_CASE("launches and copies of several threads take turns", "[virtual]") {
  const auto device = open("sm_80", 2);
  const auto kernel = device->load(fill_artifact());
  constexpr std::uint32_t kThreads = 4;
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const Address out = device->allocate(256 * 4);
      kernel->launch({.x = 4}, bytes_of({out, thread * 1000, 256}), nullptr);
      if (fetch(*device, out, 256) == counting_from(thread * 1000, 256)) ++right;
      device->release(out);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(right == static_cast<int>(kThreads));
}

TEST_CASE("copies are held to their buffer", "[virtual]") {
  const auto device = open();
  const Address address = device->allocate(8);
  const std::array<std::byte, 4> sent = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  device->upload(address, sent);
  const auto pinned = device->allocate_pinned(4);
  std::ranges::copy(sent, pinned->bytes().begin());
  pinned->upload_async(address + 4, 4, nullptr);
  std::array<std::byte, 8> received{};
  device->download(received, address);
  CHECK(std::memcmp(received.data(), sent.data(), 4) == 0);
  CHECK(std::memcmp(received.data() + 4, sent.data(), 4) == 0);
  message_of(ErrorCode::device_fault, [&] { device->upload(address + 5, sent); });
  message_of(ErrorCode::device_fault, [&] { device->download(received, address + 1); });
  device->release(address);
  message_of(ErrorCode::device_fault, [&] { device->download(received, address); });
  CHECK_NOTHROW(device->release(address));
  CHECK_NOTHROW(device->release(0));
  CHECK_NOTHROW(device->upload(0, {}));
  CHECK_NOTHROW(device->download({}, 0));
}

TEST_CASE("what the virtual device cannot load is refused", "[virtual]") {
  const auto device = open("sm_86");
  Artifact artifact = fill_artifact();

  SECTION("no PTX") {
    artifact.ptx.clear();
    CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { device->load(artifact); }), Contains("artifact.ptx"));
  }
  SECTION("another entry") {
    artifact.entry = "other";
    CHECK_THAT(message_of(ErrorCode::corrupt, [&] { device->load(artifact); }), Contains("\"other\""));
  }
  SECTION("damaged text") {
    artifact.ptx.replace(artifact.ptx.find("st.global.u32 ["), 15, "st.global.u32 (");
    message_of(ErrorCode::corrupt, [&] { device->load(artifact); });
  }
  SECTION("an instruction that the machine does not know") {
    artifact.ptx.replace(artifact.ptx.find("mad.lo.s32"), 10, "mad.lo.s33");
    CHECK_THAT(message_of(ErrorCode::unsupported, [&] { device->load(artifact); }), Contains("mad.lo.s33"));
  }
  SECTION("too much shared memory for the posed architecture") {
    artifact.shared_bytes = 99 * 1024 + 1;
    CHECK_THAT(message_of(ErrorCode::unsupported, [&] { device->load(artifact); }),
               Contains("101377") && Contains("virtual:sm_86 has 101376"));
    artifact.shared_bytes = 99 * 1024;
    CHECK_NOTHROW(device->load(artifact));
  }
  SECTION("an impossible block") {
    artifact.block_threads = GENERATE(0, 1025);
    CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { device->load(artifact); }), Contains("block_threads"));
  }
}

TEST_CASE("an impossible launch is refused", "[virtual]") {
  const auto device = open();
  const auto kernel = device->load(fill_artifact());
  const Parameters parameters{};
  CHECK_THAT(message_of(ErrorCode::invalid_argument, [&] { kernel->launch({.x = 0}, bytes_of(parameters), nullptr); }),
             Contains("grid.x is 0"));
  CHECK_THAT(message_of(ErrorCode::device_fault, [&] { kernel->launch({}, bytes_of(parameters).first(8), nullptr); }),
             Contains("fill"));
}

TEST_CASE("a child that is forked in the middle of a launch is told so", "[virtual]") {
  if (!test::can_fork_with_threads()) return;
  std::promise<void> inside;
  std::promise<void> finish;
  const auto device = open_virtual_device(
      parse_arch("sm_80"), 1, std::make_shared<ptx::Memory>(),
      [&](const ptx::Module&, ptx::Memory&, std::string_view, std::span<const std::byte>, const ptx::LaunchOptions&) {
        inside.set_value();
        finish.get_future().wait();
      });
  const Address buffer = device->allocate(16);
  const auto kernel = device->load(fill_artifact());
  std::jthread launching([&] { kernel->launch({}, {}, nullptr); });
  inside.get_future().wait();
  const auto in_the_child = [&]() -> std::string {
    device->release(buffer);
    for (int attempt = 0; attempt < 2; ++attempt) {
      try {
        (void)device->allocate(16);
        return "nothing was thrown";
      } catch (const Error& error) {
        if (error.code() != ErrorCode::device_fault) return error.what();
      }
    }
    const auto own = open_virtual_device(parse_arch("sm_80"), 1);
    return own->allocate(16) != 0 ? "" : "the child's own device does not work";
  };
  CHECK(test::in_child(in_the_child) == "");
  finish.set_value();
  launching.join();
  // A device that is at rest goes on in the child, and in the parent.
  CHECK(test::in_child([&] { return device->allocate(16) != 0 ? "" : "no memory"; }) == "");
  device->release(buffer);
}

}  // namespace librt::device
