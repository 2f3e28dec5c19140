// A GPU, driven through libcuda.
#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "src/device/cuda/context.hpp"
#include "src/device/cuda/cuda_kernel.hpp"
#include "src/device/cuda/cuda_pinned_buffer.hpp"
#include "src/device/cuda/error_names.hpp"
#include "src/device/device.hpp"

namespace librt::device {

namespace cuda {

namespace {

constexpr int kOldestArch = 80;  // the kernels use cp.async and bf16 mma

int attribute(const PrimaryContext& context, int id, const char* call) {
  int value = 0;
  check_open(context.api().cuDeviceGetAttribute(&value, id, context.device()), call);
  return value;
}

std::string device_name(const PrimaryContext& context) {
  std::array<char, 256> name{};
  check_open(context.api().cuDeviceGetName(name.data(), static_cast<int>(name.size()) - 1, context.device()),
             "cuDeviceGetName");
  return name.data();
}

Properties read_properties(const PrimaryContext& context) {
  Properties properties;
  properties.name = device_name(context);
  const int major =
      attribute(context, kAttributeComputeCapabilityMajor, "cuDeviceGetAttribute(COMPUTE_CAPABILITY_MAJOR)");
  const int minor =
      attribute(context, kAttributeComputeCapabilityMinor, "cuDeviceGetAttribute(COMPUTE_CAPABILITY_MINOR)");
  properties.arch = gpu_arch(major * 10 + minor);
  properties.num_sms = attribute(context, kAttributeMultiprocessorCount, "cuDeviceGetAttribute(MULTIPROCESSOR_COUNT)");
  properties.shared_bytes_per_block = attribute(context, kAttributeMaxSharedMemoryPerBlockOptin,
                                                "cuDeviceGetAttribute(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)");
  return properties;
}

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int ordinal)
      : context_(std::make_shared<const PrimaryContext>(Driver::open(), ordinal)),
        properties_(read_properties(*context_)) {
    if (properties_.arch.sm < kOldestArch) {
      throw_no_device(fmt::format("cuda:{} ({}) has compute capability {}.{}, librt's kernels need 8.0 or later",
                                  ordinal, properties_.name, properties_.arch.sm / 10, properties_.arch.sm % 10));
    }
  }

  const Properties& properties() const noexcept override { return properties_; }
  void require_this_process() const override { context_->require_this_process(); }

  std::shared_ptr<const LoadedKernel> load(const Artifact& artifact) override {
    return std::make_shared<const CudaKernel>(context_, properties_, artifact);
  }

  Address allocate(std::size_t bytes) override {
    const ContextScope scope(*context_);
    DevicePointer address = 0;
    const std::size_t at_least_one = std::max<std::size_t>(bytes, 1);  // the driver refuses 0
    const Result result = api().cuMemAlloc(&address, at_least_one);
    if (result != kSuccess) {
      throw Error(ErrorCode::driver, describe_error(fmt::format("cuMemAlloc of {} bytes", bytes), result));
    }
    return address;
  }

  void release(Address address) noexcept override {
    if (address == 0 || !context_->usable_in_this_process()) return;
    try {
      const ContextScope scope(*context_);
      api().cuMemFree(address);
    } catch (const std::exception&) {
      // The context is lost, and the allocation with it.
    }
  }

  void upload(Address to, std::span<const std::byte> from) override {
    if (from.empty()) return;
    const ContextScope scope(*context_);
    check(api().cuMemcpyHtoD(to, from.data(), from.size()), "cuMemcpyHtoD");
    // From pageable memory the copy returns when the bytes are staged, not when they have arrived, and a stream that
    // does not wait for the default stream could still read the old ones.
    check(api().cuStreamSynchronize(nullptr), "cuStreamSynchronize");
  }

  void download(std::span<std::byte> to, Address from) override {
    if (to.empty()) return;
    const ContextScope scope(*context_);
    check(api().cuMemcpyDtoH(to.data(), from, to.size()), "cuMemcpyDtoH");
  }

  std::unique_ptr<PinnedBuffer> allocate_pinned(std::size_t bytes) override {
    return std::make_unique<CudaPinnedBuffer>(context_, bytes);
  }

  void synchronize() override {
    const ContextScope scope(*context_);
    check(api().cuCtxSynchronize(), "cuCtxSynchronize");
  }

 private:
  const DriverApi& api() const noexcept { return context_->api(); }

  std::shared_ptr<const PrimaryContext> context_;
  Properties properties_;
};

}  // namespace

}  // namespace cuda

std::shared_ptr<Device> open_cuda_device(int ordinal) {
  return std::make_shared<cuda::CudaDevice>(ordinal);
}

}  // namespace librt::device
