#include <librt/error.hpp>
#include <librt/kernel.hpp>

#include <algorithm>
#include <utility>

#include "kernels/shared_memory.h"
#include "src/api/boundary.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/plan_impl.hpp"

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

Plan Kernel::plan(std::span<const std::int32_t> kv_indptr, std::span<const std::int32_t> kv_last_page_len,
                  const PlanOptions& options) const {
  const detail::KernelImpl& kernel = impl();
  return api::at_boundary([&] {
    const device::Properties& properties = kernel.device->properties();
    const int blocks = tiles::blocks_per_multiprocessor(properties.arch.sm, kernel.artifact->shared_bytes);
    detail::PlanImpl plan = api::make_plan(kernel.spec, {.kv_indptr = kv_indptr,
                                                         .kv_last_page_len = kv_last_page_len,
                                                         .split_pages = options.split_pages,
                                                         .resident_blocks = properties.num_sms * std::max(blocks, 1),
                                                         .arch = kernel.artifact->arch,
                                                         .may_split = kernel.merge_spec.kind() != nullptr});
    if (plan.num_split_requests > 0) static_cast<void>(kernel.merge_kernel());  // not in the middle of a capture
    return Plan(std::make_shared<const detail::PlanImpl>(std::move(plan)));
  });
}

}  // namespace librt
