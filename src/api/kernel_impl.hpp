// What a Kernel holds.
#pragma once

#include <librt/artifact.hpp>
#include <librt/kernel.hpp>
#include <librt/spec.hpp>

#include <functional>
#include <memory>
#include <mutex>

#include "src/device/device.hpp"

namespace librt::detail {

struct KernelImpl {
  Spec spec;
  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<device::Device> device;
  std::shared_ptr<const device::LoadedKernel> decode;

  /// The kernel that merges splits: loaded by the first plan that has any. Throws what loading throws; then tries
  /// again.
  std::shared_ptr<const device::LoadedKernel> merge_kernel() const;

  std::function<std::shared_ptr<const device::LoadedKernel>()> load_merge;
  mutable std::mutex merge_mutex;
  mutable std::shared_ptr<const device::LoadedKernel> merge;
};

}  // namespace librt::detail
