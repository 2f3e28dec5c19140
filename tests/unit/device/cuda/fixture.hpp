// What the tests of the CUDA device share.
#pragma once

#include <librt/artifact.hpp>
#include <librt/error.hpp>

#include <catch2/catch.hpp>

#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

#include "src/device/device.hpp"
#include "tests/support/fake_cuda/fake_cuda.hpp"

namespace librt::device {

/// As the fake driver's default machine takes it.
inline Artifact make_artifact() {
  Artifact artifact;
  artifact.kernel = "gqa_decode";
  artifact.entry = "librt_entry";
  artifact.arch = {.sm = 90, .suffix = 'a', .ptx_only = false};
  artifact.block_threads = 128;
  artifact.shared_bytes = 73984;
  constexpr std::string_view cubin = "cubin bytes";
  artifact.cubin.resize(cubin.size() + 1);
  std::memcpy(artifact.cubin.data(), cubin.data(), cubin.size());
  artifact.ptx = ".version 9.0";
  return artifact;
}

inline constexpr std::array<std::byte, 16> kParameters = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};

/// Opens, loads, launches, copies both ways and waits: touches every entry.
inline void use_everything() {
  const std::shared_ptr<Device> device = open_cuda_device(0);
  const auto kernel = device->load(make_artifact());
  struct Release {
    Device* device;
    Address address;
    ~Release() { device->release(address); }
  };
  const Release buffer{device.get(), device->allocate(256)};
  std::array<std::byte, 32> bytes{};
  device->upload(buffer.address, bytes);
  const auto pinned = device->allocate_pinned(bytes.size());
  pinned->upload_async(buffer.address, bytes.size(), nullptr);
  (void)pinned->is_busy();
  pinned->wait();
  kernel->launch({.x = 2}, kParameters, nullptr);
  device->synchronize();
  device->download(bytes, buffer.address);
}

/// Runs `work`, which must throw an Error of `code`, and returns its message.
inline std::string message_of(ErrorCode code, const std::function<void()>& work) {
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

inline void require_nothing_outstanding() {
  const fake_cuda::Outstanding outstanding = fake_cuda::outstanding();
  CHECK(outstanding.allocations == 0);
  CHECK(outstanding.pinned == 0);
  CHECK(outstanding.events == 0);
  CHECK(outstanding.libraries == 0);
  CHECK(outstanding.contexts == 0);
  CHECK(outstanding.context_depth == 0);
}

}  // namespace librt::device
