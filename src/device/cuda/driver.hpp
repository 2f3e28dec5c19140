// libcuda, opened when a GPU is first wanted. Nothing in librt links against it.
#pragma once

#include <memory>
#include <string>

#include "src/device/cuda/driver_api.hpp"

namespace librt::device::cuda {

/// The initialised driver. Immutable, thread safe.
class Driver {
 public:
  /// @param library file name for dlopen; tests pass one that does not exist.
  /// Throws Error(no_device): no driver, a stub, no GPU, a driver older than CUDA 12.0, or any other refusal.
  static std::shared_ptr<const Driver> open(const std::string& library = "libcuda.so.1");

  const DriverApi& api() const noexcept { return api_; }
  /// "13.0": the newest CUDA that the driver supports.
  const std::string& version() const noexcept { return version_; }

 private:
  struct CloseLibrary {
    void operator()(void* handle) const noexcept;
  };
  explicit Driver(const std::string& library);
  template <class FunctionPointer>
  FunctionPointer find_exported(const std::string& library, const char* name) const;

  std::unique_ptr<void, CloseLibrary> library_;
  DriverApi api_;
  std::string version_;
};

/// Throws Error(no_device) with the advice that fits every case.
[[noreturn]] void throw_no_device(const std::string& reason);
/// Throws Error(no_device) naming the call and the error unless `result` is success: for calls made while opening.
void check_open(Result result, const char* call);
/// Throws Error(driver) naming the call and the error unless `result` is success.
void check(Result result, const char* call);

}  // namespace librt::device::cuda
