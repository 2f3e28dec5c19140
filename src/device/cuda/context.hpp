// One GPU's primary context: the one that the CUDA runtime, PyTorch and most engines use too, so their pointers and
// streams are valid in it.
#pragma once

#include <memory>

#include "src/device/cuda/driver.hpp"

namespace librt::device::cuda {

/// Holds the primary context of one device. Immutable, thread safe.
class PrimaryContext {
 public:
  /// Throws Error(no_device) if the device does not exist or its context cannot be made.
  PrimaryContext(std::shared_ptr<const Driver> driver, int ordinal);
  ~PrimaryContext();
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  const Driver& driver() const noexcept { return *driver_; }
  const DriverApi& api() const noexcept { return driver_->api(); }
  DeviceOrdinal device() const noexcept { return device_; }
  Context handle() const noexcept { return handle_; }
  /// False in a forked child, where no driver call may be made: not even one that frees something.
  bool usable_in_this_process() const noexcept;
  /// Throws Error(no_device) in a forked child.
  void require_this_process() const;

 private:
  std::shared_ptr<const Driver> driver_;
  DeviceOrdinal device_ = 0;
  Context handle_ = nullptr;
  unsigned generation_ = 0;  // of the process that opened it
};

/// Makes a context current on the calling thread for a scope, and the caller's own current again afterwards. Costs one
/// query where it is current already, as it is in programs that use the CUDA runtime.
class ContextScope {
 public:
  /// Throws Error: driver; no_device in a forked child.
  explicit ContextScope(const PrimaryContext& context);
  ~ContextScope();
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;

 private:
  const DriverApi* api_;
  bool pushed_ = false;
};

}  // namespace librt::device::cuda
