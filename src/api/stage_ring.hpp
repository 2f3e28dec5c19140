// The pinned memory from which plans are copied to workspaces.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "src/device/device.hpp"
#include "src/util/per_process.hpp"

namespace librt::api {

/// Thread safe. A buffer is used again once the copy from it is through.
class StageRing {
 public:
  explicit StageRing(std::shared_ptr<device::Device> device) : device_(std::move(device)) {}

  /// Enqueues a copy of the bytes, which may go at once. Waits only if all buffers are in use.
  void upload(device::Address to, std::span<const std::byte> bytes, device::StreamHandle stream);
  std::uint64_t waits() const noexcept { return waits_.load(); }

 private:
  using Buffers = std::deque<std::unique_ptr<device::PinnedBuffer>>;  // the one used longest ago first

  std::unique_ptr<device::PinnedBuffer> take(Buffers& buffers);

  std::shared_ptr<device::Device> device_;
  util::PerProcess<Buffers> buffers_;
  std::atomic<std::uint64_t> waits_{0};
};

}  // namespace librt::api
