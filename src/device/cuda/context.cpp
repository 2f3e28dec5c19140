#include "src/device/cuda/context.hpp"

#include <fmt/format.h>

#include "src/util/per_process.hpp"

namespace librt::device::cuda {

PrimaryContext::PrimaryContext(std::shared_ptr<const Driver> driver, int ordinal)
    : driver_(std::move(driver)), generation_(util::process_generation()) {
  int count = 0;
  check_open(api().cuDeviceGetCount(&count), "cuDeviceGetCount");
  if (ordinal < 0 || ordinal >= count) {
    throw_no_device(fmt::format("there is no cuda:{}: the driver sees {} GPU{}{}", ordinal, count,
                                count == 1 ? "" : "s",
                                count > 0 ? fmt::format(", numbered from 0 to {}", count - 1) : ""));
  }
  check_open(api().cuDeviceGet(&device_, ordinal), "cuDeviceGet");
  check_open(api().cuDevicePrimaryCtxRetain(&handle_, device_), "cuDevicePrimaryCtxRetain");
}

// Failures are ignored: at process exit the driver may have shut down before us, and then there is nothing to give
// back.
PrimaryContext::~PrimaryContext() {
  if (usable_in_this_process()) api().cuDevicePrimaryCtxRelease(device_);
}

bool PrimaryContext::usable_in_this_process() const noexcept {
  return generation_ == util::process_generation();
}

void PrimaryContext::require_this_process() const {
  if (usable_in_this_process()) return;
  throw_no_device(
      "this process was forked from one that had opened the GPU, and the CUDA driver does not survive a fork: open the "
      "GPU in the child only, or start the child with exec");
}

ContextScope::ContextScope(const PrimaryContext& context) : api_(&context.api()) {
  context.require_this_process();
  Context current = nullptr;
  check(api_->cuCtxGetCurrent(&current), "cuCtxGetCurrent");
  if (current == context.handle()) return;
  check(api_->cuCtxPushCurrent(context.handle()), "cuCtxPushCurrent");
  pushed_ = true;
}

// A pop can only fail when the driver has shut down or someone else unbalanced the stack; neither can be repaired here.
ContextScope::~ContextScope() {
  Context popped = nullptr;
  if (pushed_) api_->cuCtxPopCurrent(&popped);
}

}  // namespace librt::device::cuda
