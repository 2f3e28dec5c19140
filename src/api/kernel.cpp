#include <librt/error.hpp>
#include <librt/kernel.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/shared_memory.h"
#include "src/api/boundary.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/plan_impl.hpp"
#include "src/kernel/launch_checks.hpp"

namespace librt {

std::shared_ptr<const device::LoadedKernel> detail::KernelImpl::merge_kernel() const {
  return merge.get(load_merge);
}

Kernel::Kernel(std::shared_ptr<const detail::KernelImpl> impl) noexcept : impl_(std::move(impl)) {}
Kernel::Kernel(const Kernel&) = default;
Kernel::Kernel(Kernel&&) noexcept = default;
Kernel& Kernel::operator=(const Kernel&) = default;
Kernel& Kernel::operator=(Kernel&&) noexcept = default;
Kernel::~Kernel() = default;

const detail::KernelImpl& Kernel::impl() const {
  if (impl_ == nullptr) throw Error(ErrorCode::invalid_argument, "this Kernel was moved from");
  return *impl_;
}

const Spec& Kernel::spec() const {
  return impl().spec;
}
const Artifact& Kernel::artifact() const {
  return *impl().artifact;
}

void api::require_plan_of(const detail::KernelImpl& kernel, const detail::PlanImpl& plan) {
  if (plan.spec == kernel.spec) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("the plan was made for {}, the kernel is for {}",
                                                       to_string(plan.spec), to_string(kernel.spec)));
}

void api::complete(detail::KernelImpl& kernel) {
  kernel.ring = std::make_unique<StageRing>(kernel.device);
  const device::Properties& properties = kernel.device->properties();
  const int blocks = tiles::blocks_per_multiprocessor(properties.arch.sm, kernel.artifact->shared_bytes);
  kernel.plan_device = {.resident_blocks = properties.num_sms * std::max(blocks, 1),
                        .arch = kernel.artifact->arch,
                        .may_split = kernel.merge_spec.kind() != nullptr};
  const auto split = description(*kernel.spec.kind()).split;
  if (split == nullptr) return;
  const SplitShape shape = split(kernel.spec, kernel.plan_device.arch);
  const auto share = [](int blocks_at_a_time, int blocks_each) {
    return static_cast<unsigned>(std::clamp((blocks_at_a_time - 1) / blocks_each + 1, 1, kMostItemBlocks));
  };
  constexpr int kMergesPerMultiprocessor = 8;  // of 256 threads
  kernel.most_item_blocks = share(kernel.plan_device.resident_blocks, shape.blocks_per_item);
  kernel.most_merge_blocks = share(properties.num_sms * kMergesPerMultiprocessor, shape.heads);
}

std::size_t Kernel::workspace_bytes(const PlanLimits& limits) const {
  const detail::KernelImpl& kernel = impl();
  return api::at_boundary([&] { return api::make_frame(kernel.spec, limits, kernel.plan_device).layout.total_bytes; });
}

Plan Kernel::plan(const PlanBatch& batch, const PlanOptions& options) const {
  const detail::KernelImpl& kernel = impl();
  return api::at_boundary([&] {
    detail::PlanImpl plan = api::make_plan(kernel.spec, batch, options.limits, kernel.plan_device);
    if (plan.frame.max_merges > 0) static_cast<void>(kernel.merge_kernel());  // not in the middle of a capture
    return Plan(std::make_shared<const detail::PlanImpl>(std::move(plan)));
  });
}

void Kernel::stage(const Plan& plan, const Workspace& workspace, CUstream_st* stream) const {
  const detail::KernelImpl& kernel = impl();
  api::at_boundary([&] {
    const detail::PlanImpl& staged = plan.impl();
    api::require_plan_of(kernel, staged);
    if (staged.tables.empty()) return;
    kernel::check_workspace("workspace", workspace, staged.frame.layout.total_bytes);
    if (staged.frame.max_merges > 0) static_cast<void>(kernel.merge_kernel());  // the plan may be another Kernel's
    kernel.ring->upload(reinterpret_cast<std::uintptr_t>(workspace.data), staged.tables, stream);
  });
}

std::uint64_t Kernel::stage_waits() const {
  return impl().ring->waits();
}

}  // namespace librt
