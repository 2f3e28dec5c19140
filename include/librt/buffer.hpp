// Device memory owned by the caller.
#pragma once

#include <librt/export.hpp>

#include <cstddef>
#include <memory>

namespace librt {

namespace detail {
struct BufferImpl;
}

/// Owns one allocation of the Runtime's device; movable, not copyable. Keeps what it needs of the device alive, so it
/// may outlive the Runtime. Not thread safe. For tests and small programs; engines bring their own device pointers.
/// A moved-from Buffer is an empty one. Do not destroy it while a launch that uses it is still running: on a GPU the
/// memory goes back at once.
class LIBRT_API Buffer {
 public:
  Buffer() noexcept;
  explicit Buffer(std::unique_ptr<detail::BufferImpl> impl) noexcept;
  ~Buffer();
  Buffer(Buffer&&) noexcept;
  Buffer& operator=(Buffer&&) noexcept;

  /// Device pointer, aligned to 256 bytes; null for an empty Buffer. Never dereference it on the host.
  void* data() const noexcept;
  std::size_t size() const noexcept;  ///< bytes

  template <class T>
  T* as() const noexcept {
    return static_cast<T*>(data());
  }

 private:
  friend detail::BufferImpl;
  std::unique_ptr<detail::BufferImpl> impl_;
};

}  // namespace librt
