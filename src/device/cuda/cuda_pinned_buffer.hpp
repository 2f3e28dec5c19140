// Page-locked host memory, and an event behind the last copy from it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "src/device/cuda/context.hpp"
#include "src/device/device.hpp"

namespace librt::device::cuda {

class CudaPinnedBuffer final : public PinnedBuffer {
 public:
  CudaPinnedBuffer(std::shared_ptr<const PrimaryContext> context, std::size_t size);
  ~CudaPinnedBuffer() override;  ///< waits for a copy that is under way

  std::span<std::byte> bytes() noexcept override { return {static_cast<std::byte*>(memory_), size_}; }
  void upload_async(Address to, std::size_t count, StreamHandle stream) override;
  bool is_busy() override;
  void wait() override;

 private:
  const DriverApi& api() const noexcept { return context_->api(); }

  std::shared_ptr<const PrimaryContext> context_;
  std::size_t size_;
  void* memory_ = nullptr;
  Event copied_ = nullptr;
};

}  // namespace librt::device::cuda
