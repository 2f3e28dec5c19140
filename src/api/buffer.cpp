#include <librt/buffer.hpp>

#include <cstdint>
#include <utility>

#include "src/api/buffer_impl.hpp"

namespace librt {

Buffer::Buffer() noexcept = default;
Buffer::Buffer(std::unique_ptr<detail::BufferImpl> impl) noexcept : impl_(std::move(impl)) {}
Buffer::~Buffer() = default;
Buffer::Buffer(Buffer&&) noexcept = default;
Buffer& Buffer::operator=(Buffer&&) noexcept = default;

void* Buffer::data() const noexcept {
  return impl_ ? reinterpret_cast<void*>(static_cast<std::uintptr_t>(impl_->address)) : nullptr;
}

std::size_t Buffer::size() const noexcept {
  return impl_ ? impl_->bytes : 0;
}

}  // namespace librt
