// What a Kernel holds.
#pragma once

#include <librt/artifact.hpp>
#include <librt/kernel.hpp>
#include <librt/spec.hpp>

#include <functional>
#include <memory>

#include "src/api/plan_impl.hpp"
#include "src/api/stage_ring.hpp"
#include "src/device/device.hpp"
#include "src/util/made_once.hpp"

namespace librt::detail {

struct KernelImpl {
  Spec spec;
  Spec merge_spec;  // of no kernel: no request is split
  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<device::Device> device;
  std::shared_ptr<const device::LoadedKernel> decode;
  api::PlanDevice plan_device;
  unsigned most_item_blocks = 0;   // along a grid's x dimension, so that the device runs all of the grid at a time
  unsigned most_merge_blocks = 0;  // likewise along a merge's y dimension
  std::unique_ptr<api::StageRing> ring;

  /// The kernel that merges splits. Throws what loading throws; the next call tries again.
  std::shared_ptr<const device::LoadedKernel> merge_kernel() const;

  std::function<std::shared_ptr<const device::LoadedKernel>()> load_merge;
  mutable util::MadeOnce<std::shared_ptr<const device::LoadedKernel>> merge;
};

}  // namespace librt::detail

namespace librt::api {

/// Sets what follows from the spec, the artifact and the device: how large grids are, and an empty ring.
void complete(detail::KernelImpl& kernel);
/// Throws Error(invalid_argument).
void require_plan_of(const detail::KernelImpl& kernel, const detail::PlanImpl& plan);

}  // namespace librt::api
