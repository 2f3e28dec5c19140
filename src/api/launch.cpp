// Kernel::launch: checks the arguments, fills the parameters, enqueues the decode and the merge.
#include <librt/error.hpp>
#include <librt/kernel.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/work.h"
#include "src/api/boundary.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/page_ids.hpp"
#include "src/api/plan_impl.hpp"
#include "src/kernel/arguments.hpp"

namespace librt {
namespace {

template <class T>
T* at(void* workspace, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(workspace) + offset);
}

PlanTables tables_of(const detail::PlanImpl& plan, void* workspace) {
  const detail::WorkspaceLayout& layout = plan.frame.layout;
  return {.mark = plan.frame.mark,
          .header = at<const PlanHeader>(workspace, 0),
          .items = at<const WorkItem>(workspace, layout.items),
          .merge_requests = at<const int>(workspace, layout.merge_requests),
          .merge_indptr = at<const int>(workspace, layout.merge_indptr),
          .partial_out = at<float>(workspace, layout.partial_out),
          .partial_stats = at<PartialStats>(workspace, layout.partial_stats),
          .batch = plan.batch};
}

void enqueue(const Spec& spec, const device::LoadedKernel& code, LaunchArguments& launch, CUstream_st* stream) {
  const KernelDescription& kernel = description(*spec.kind());
  kernel.fill(launch);
  if (launch.grid_x() == 0 || launch.grid_y() == 0 || launch.params_bytes().empty()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("kernel {}: fill gave no grid or no parameters", kernel.name));
  }
  code.launch({.x = launch.grid_x(), .y = launch.grid_y()}, launch.params_bytes(), stream);
}

/// The operands of a merge are those of its decode that have the same names, and are alike: api::merge_of() has seen to
/// that.
void launch_merge(const detail::KernelImpl& kernel, int batch, const kernel::Arguments& arguments,
                  const LaunchPlan& plan, CUstream_st* stream) {
  const auto operands = description(*kernel.merge_spec.kind()).operands;
  LaunchArguments launch(kernel.merge_spec, kernel.artifact->arch, batch, plan);
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const auto operand = kernel.spec.kind()->operand(operands[i].name);
    if (operand) arguments.bind(*operand, launch, i);
  }
  enqueue(kernel.merge_spec, *kernel.merge_kernel(), launch, stream);
}

void launch(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, std::span<const Binding> bindings,
            CUstream_st* stream) {
  api::require_plan_of(kernel, plan);
  const detail::PlanFrame& frame = plan.frame;
  kernel::Arguments arguments(kernel.spec, bindings);
  if (frame.limits.max_items == 0 || !arguments.has_work()) return;
  const bool may_own_pages = frame.limits.max_pages > 0;
  arguments.check({.batch = plan.batch, .owns_pages = may_own_pages, .workspace_bytes = frame.layout.total_bytes});
  if (kernel.device->properties().is_virtual && may_own_pages && arguments.pages() != nullptr) {
    api::check_page_ids(*kernel.device, plan,
                        {.kv_indptr = arguments.integers(Meaning::kv_indptr),
                         .kv_indices = arguments.integers(Meaning::kv_indices),
                         .kv_last_page_len = arguments.integers(Meaning::kv_last_page_len),
                         .num_pages = arguments.pages()->num_pages});
  }
  const PlanTables tables = tables_of(plan, arguments.workspace());
  const LaunchPlan launch_plan{
      .tables = &tables,
      .item_blocks = std::min(static_cast<unsigned>(frame.limits.max_items), kernel.most_item_blocks),
      .merge_blocks = std::min(static_cast<unsigned>(frame.max_merges), kernel.most_merge_blocks)};
  LaunchArguments launch(kernel.spec, kernel.artifact->arch, plan.batch, launch_plan);
  arguments.bind(launch);
  enqueue(kernel.spec, *kernel.decode, launch, stream);
  if (frame.max_merges > 0) launch_merge(kernel, plan.batch, arguments, launch_plan, stream);
}

/// The arguments of a launch on a device whose memory the host can read.
class DeviceArguments final : public HostArguments {
 public:
  DeviceArguments(const detail::KernelImpl& kernel, const kernel::Arguments& arguments)
      : kernel_(kernel), arguments_(arguments) {}

  const Spec& spec() const override { return kernel_.spec; }
  std::int64_t count(std::size_t operand) const override { return arguments_.count(operand); }
  std::int64_t num_pages() const override { return arguments_.pages() == nullptr ? 0 : arguments_.pages()->num_pages; }
  std::vector<std::int32_t> integers(std::size_t operand, std::int64_t first, std::int64_t elements) const override {
    std::vector<std::int32_t> values(static_cast<std::size_t>(elements));
    const auto* const from = static_cast<const std::int32_t*>(arguments_.data(operand)) + first;
    kernel_.device->download(std::as_writable_bytes(std::span(values)), reinterpret_cast<std::uintptr_t>(from));
    return values;
  }

 private:
  const detail::KernelImpl& kernel_;
  const kernel::Arguments& arguments_;
};

/// What cannot be read is left to the kernel, whose report says where.
void inspect(const detail::KernelImpl& kernel, const kernel::Arguments& arguments) {
  const auto inspect = description(*kernel.spec.kind()).inspect;
  if (inspect == nullptr || !kernel.device->properties().is_virtual) return;
  try {
    inspect(DeviceArguments(kernel, arguments));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) throw;
  }
}

void launch(const detail::KernelImpl& kernel, std::span<const Binding> bindings, CUstream_st* stream) {
  if (kernel.spec.kind()->takes_plan()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} takes a plan: launch(plan, ...)", kernel.spec.kernel()));
  }
  kernel::Arguments arguments(kernel.spec, bindings);
  if (!arguments.has_work()) return;
  arguments.check({.owns_pages = true});
  inspect(kernel, arguments);
  LaunchArguments launch(kernel.spec, kernel.artifact->arch, 0, {});
  arguments.bind(launch);
  enqueue(kernel.spec, *kernel.decode, launch, stream);
}

}  // namespace

void Kernel::launch(std::span<const Binding> bindings, CUstream_st* stream) const {
  const detail::KernelImpl& kernel = impl();
  api::at_boundary([&] { librt::launch(kernel, bindings, stream); });
}

void Kernel::launch(const Plan& plan, std::span<const Binding> bindings, CUstream_st* stream) const {
  const detail::KernelImpl& kernel = impl();
  api::at_boundary([&] { librt::launch(kernel, plan.impl(), bindings, stream); });
}

}  // namespace librt
