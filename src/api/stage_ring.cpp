#include "src/api/stage_ring.hpp"

#include <algorithm>
#include <bit>

namespace librt::api {
namespace {

constexpr std::size_t kMostBuffers = 8;

}  // namespace

/// A buffer without a copy under way; null: a new one is to be made.
std::unique_ptr<device::PinnedBuffer> StageRing::take(Buffers& buffers) {
  auto idle = std::ranges::find_if(buffers, [](const auto& buffer) { return !buffer->is_busy(); });
  if (idle == buffers.end()) {
    if (buffers.size() < kMostBuffers) return nullptr;
    ++waits_;
    idle = buffers.begin();
    (*idle)->wait();
  }
  std::unique_ptr<device::PinnedBuffer> taken = std::move(*idle);
  buffers.erase(idle);
  return taken;
}

void StageRing::upload(device::Address to, std::span<const std::byte> bytes, device::StreamHandle stream) {
  const auto buffers = buffers_.lock();
  std::unique_ptr<device::PinnedBuffer> buffer = take(*buffers);
  if (buffer == nullptr || buffer->bytes().size() < bytes.size()) {
    buffer = device_->allocate_pinned(std::bit_ceil(bytes.size()));
  }
  std::ranges::copy(bytes, buffer->bytes().begin());
  buffers->push_back(nullptr);  // may throw, which must not lose a buffer with a copy under way
  buffers->back() = std::move(buffer);
  buffers->back()->upload_async(to, bytes.size(), stream);
}

}  // namespace librt::api
