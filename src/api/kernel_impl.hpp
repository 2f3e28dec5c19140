// What a Kernel holds.
#pragma once

#include <librt/artifact.hpp>
#include <librt/kernel.hpp>
#include <librt/spec.hpp>

#include <functional>
#include <memory>

#include "src/device/device.hpp"
#include "src/util/made_once.hpp"

namespace librt::detail {

struct KernelImpl {
  Spec spec;
  Spec merge_spec;  // of no kernel: no request is split
  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<device::Device> device;
  std::shared_ptr<const device::LoadedKernel> decode;

  /// The kernel that merges splits. Throws what loading throws; the next call tries again.
  std::shared_ptr<const device::LoadedKernel> merge_kernel() const;

  std::function<std::shared_ptr<const device::LoadedKernel>()> load_merge;
  mutable util::MadeOnce<std::shared_ptr<const device::LoadedKernel>> merge;
};

}  // namespace librt::detail
