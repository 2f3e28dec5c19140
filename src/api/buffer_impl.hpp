// What a Buffer holds.
#pragma once

#include <librt/buffer.hpp>

#include <cstddef>
#include <memory>
#include <utility>

#include "src/device/device.hpp"

namespace librt::detail {

struct BufferImpl {
  BufferImpl(std::shared_ptr<device::Device> owner, std::size_t size)
      : device(std::move(owner)), address(size == 0 ? 0 : device->allocate(size)), bytes(size) {}
  ~BufferImpl() {
    if (address != 0) device->release(address);
  }
  BufferImpl(const BufferImpl&) = delete;
  BufferImpl& operator=(const BufferImpl&) = delete;

  /// Null for an empty Buffer.
  static const BufferImpl* of(const Buffer& buffer) noexcept { return buffer.impl_.get(); }

  std::shared_ptr<device::Device> device;
  device::Address address;
  std::size_t bytes;
};

}  // namespace librt::detail
