// Kernel::launch: checks the arguments, fills the parameters, enqueues the decode and the merge.
#include <librt/error.hpp>
#include <librt/kernel.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>

#include "kernels/work.h"
#include "src/api/boundary.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/page_ids.hpp"
#include "src/api/plan_impl.hpp"
#include "src/kernel/arguments.hpp"

namespace librt {
namespace {

constexpr int kMaxGridY = 65535;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

template <class T>
T* at(void* workspace, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(workspace) + offset);
}

PlanTables tables_of(const detail::PlanImpl& plan, void* workspace) {
  const detail::WorkspaceLayout& layout = plan.layout;
  return {.work_items = at<const WorkItem>(workspace, layout.work_items),
          .num_work_items = plan.num_work_items,
          .partial_out = at<float>(workspace, layout.partial_out),
          .partial_stats = at<PartialStats>(workspace, layout.partial_stats),
          .merge_requests = at<const int>(workspace, layout.merge_requests),
          .merge_indptr = at<const int>(workspace, layout.merge_indptr),
          .num_split_requests = plan.num_split_requests};
}

void fill(const KernelKind& kind, LaunchArguments& launch) {
  kind.description().fill(launch);
  if (launch.grid_x() == 0 || launch.grid_y() == 0 || launch.params_bytes().empty()) {
    refuse(fmt::format("kernel {}: fill gave no grid or no parameters", kind.description().name));
  }
}

void enqueue(const device::LoadedKernel& code, const LaunchArguments& launch, CUstream_st* stream) {
  code.launch({.x = launch.grid_x(), .y = launch.grid_y()}, launch.params_bytes(), stream);
}

/// The operands of a merge are those of its decode that have the same names, and are alike: api::merge_of() has seen to
/// that.
void launch_merge(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, const kernel::Arguments& arguments,
                  PlanTables tables, CUstream_st* stream) {
  const KernelKind& kind = *kernel.merge_spec.kind();
  const auto operands = kind.description().operands;
  const std::shared_ptr<const device::LoadedKernel> merge = kernel.merge_kernel();
  for (int first = 0; first < plan.num_split_requests; first += kMaxGridY) {
    tables.num_split_requests = std::min(plan.num_split_requests - first, kMaxGridY);
    LaunchArguments launch(kernel.merge_spec, kernel.artifact->arch, plan.batch, tables);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const auto operand = kernel.spec.kind()->operand(operands[i].name);
      if (operand) arguments.bind(*operand, launch, i);
    }
    fill(kind, launch);
    enqueue(*merge, launch, stream);
    tables.merge_requests += kMaxGridY;
    tables.merge_indptr += kMaxGridY;
  }
}

void launch(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, std::span<const Binding> bindings,
            CUstream_st* stream) {
  if (plan.spec != kernel.spec) {
    refuse(fmt::format("the plan was made for {}, the kernel is for {}", to_string(plan.spec), to_string(kernel.spec)));
  }
  kernel::Arguments arguments(kernel.spec, bindings);
  if (plan.num_work_items == 0) return;
  arguments.check({.batch = plan.batch, .owns_pages = plan.owns_pages, .workspace_bytes = plan.layout.total_bytes});
  if (kernel.device->properties().is_virtual && arguments.pages() != nullptr) {
    api::check_page_ids(*kernel.device, plan,
                        {.kv_indptr = arguments.integers(Meaning::kv_indptr),
                         .kv_indices = arguments.integers(Meaning::kv_indices),
                         .kv_last_page_len = arguments.integers(Meaning::kv_last_page_len),
                         .num_pages = arguments.pages()->num_pages});
  }
  void* const workspace = arguments.workspace();
  const PlanTables tables = tables_of(plan, workspace);
  LaunchArguments launch(kernel.spec, kernel.artifact->arch, plan.batch, tables);
  arguments.bind(launch);
  fill(*kernel.spec.kind(), launch);
  kernel.device->upload_async(reinterpret_cast<std::uintptr_t>(workspace), plan.tables, stream);
  enqueue(*kernel.decode, launch, stream);
  if (plan.num_split_requests > 0) launch_merge(kernel, plan, arguments, tables, stream);
}

}  // namespace

void Kernel::launch(const Plan& plan, std::span<const Binding> bindings, CUstream_st* stream) const {
  const detail::KernelImpl& kernel = impl();
  api::at_boundary([&] { librt::launch(kernel, plan.impl(), bindings, stream); });
}

}  // namespace librt
