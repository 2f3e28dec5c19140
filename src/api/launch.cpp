// Kernel::launch: checks the arguments, fills the parameter struct, enqueues the decode and the merge.
#include <librt/error.hpp>
#include <librt/kernel.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "kernels/params.h"
#include "kernels/tiles.h"
#include "src/api/kernel_impl.hpp"
#include "src/api/plan_impl.hpp"

namespace librt {
namespace {

constexpr std::uintptr_t kTensorAlignment = 16;  // cp.async moves 16 bytes
constexpr std::uintptr_t kWorkspaceAlignment = 256;
constexpr std::int64_t kStrideMultiple = 8;  // elements in 16 bytes
constexpr int kMaxGridY = 65535;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

std::uintptr_t address_of(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

void require_pointer(std::string_view name, const void* pointer, std::uintptr_t alignment) {
  if (pointer == nullptr) refuse(fmt::format("{} is null", name));
  if (address_of(pointer) % alignment != 0) {
    refuse(fmt::format("{} is {}, which is not aligned to {} bytes", name, pointer, alignment));
  }
}

void require_aligned(std::string_view name, const void* pointer, std::uintptr_t alignment) {
  if (pointer != nullptr) require_pointer(name, pointer, alignment);
}

std::int64_t stride_or(std::string_view tensor, std::string_view name, std::int64_t value, std::int64_t dense) {
  if (value == 0) return dense;
  if (value < 0 || value % kStrideMultiple != 0) {
    refuse(fmt::format("{}.{} is {}; allowed: 0 (dense) or a multiple of {} elements", tensor, name, value,
                       kStrideMultiple));
  }
  return value;
}

struct Strides {
  std::int64_t page, token, head;
};

Strides check_pages(std::string_view name, const PagedTensor& tensor, int page_size, int heads, int head_dim,
                    bool read) {
  if (tensor.num_pages < 0) refuse(fmt::format("{}.num_pages is {}; allowed: 0 or above", name, tensor.num_pages));
  if (read) {
    require_pointer(fmt::format("{}.data", name), tensor.data, kTensorAlignment);
    if (tensor.num_pages == 0) refuse(fmt::format("{}.num_pages is 0, but the plan has requests with pages", name));
  }
  const std::int64_t dense_token = std::int64_t{heads} * head_dim;
  return {stride_or(name, "page_stride", tensor.page_stride, page_size * dense_token),
          stride_or(name, "token_stride", tensor.token_stride, dense_token),
          stride_or(name, "head_stride", tensor.head_stride, head_dim)};
}

/// What both kinds of launch have in common.
struct Common {
  const std::int32_t* kv_indptr;
  const std::int32_t* kv_indices;
  const std::int32_t* kv_last_page_len;
  void* out;
  float* lse;
  void* workspace;
  float sm_scale;
};

template <class Args>
Common common_of(const Args& args) {
  return {args.kv_indptr, args.kv_indices, args.kv_last_page_len, args.out, args.lse, args.workspace, args.sm_scale};
}

void check_common(const Common& args, const detail::PlanImpl& plan) {
  require_pointer("kv_indptr", args.kv_indptr, alignof(std::int32_t));
  require_pointer("kv_last_page_len", args.kv_last_page_len, alignof(std::int32_t));
  if (plan.owns_pages) require_pointer("kv_indices", args.kv_indices, alignof(std::int32_t));
  require_pointer("out", args.out, kTensorAlignment);
  require_aligned("lse", args.lse, alignof(float));
  require_pointer("workspace", args.workspace, kWorkspaceAlignment);
  if (!std::isfinite(args.sm_scale) || args.sm_scale == 0) {
    refuse(fmt::format("sm_scale is {}; it must be finite and not 0", args.sm_scale));
  }
}

template <class T>
T* at(void* workspace, std::size_t offset) {
  return reinterpret_cast<T*>(static_cast<std::byte*>(workspace) + offset);
}

template <class Params>
std::span<const std::byte> bytes_of(const Params& params) {
  return std::as_bytes(std::span(&params, 1));
}

void upload_tables(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, void* workspace,
                   CUstream_st* stream) {
  kernel.device->upload_async(address_of(workspace), plan.tables, stream);
}

void launch_merge(const detail::PlanImpl& plan, const Common& args, int num_heads, CUstream_st* stream) {
  const detail::WorkspaceLayout& layout = plan.layout;
  for (int first = 0; first < plan.num_split_requests; first += kMaxGridY) {
    const int count = std::min(plan.num_split_requests - first, kMaxGridY);
    const MergeParams params{.partial_out = at<const float>(args.workspace, layout.partial_out),
                             .partial_stats = at<const PartialStats>(args.workspace, layout.partial_stats),
                             .merge_requests = at<const int>(args.workspace, layout.merge_requests) + first,
                             .merge_indptr = at<const int>(args.workspace, layout.merge_indptr) + first,
                             .out = args.out,
                             .lse = args.lse,
                             .num_heads = num_heads};
    plan.merge->launch({.x = static_cast<unsigned>(num_heads), .y = static_cast<unsigned>(count)}, bytes_of(params),
                       stream);
  }
}

template <class WantedSpec>
const WantedSpec& spec_of(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, std::string_view args_name) {
  const auto* spec = std::get_if<WantedSpec>(&kernel.spec);
  if (spec == nullptr) {
    refuse(fmt::format("{} given to a kernel for {}", args_name, to_string(kernel.spec)));
  }
  if (plan.spec != kernel.spec) {
    refuse(fmt::format("the plan was made for {}, the kernel is for {}", to_string(plan.spec), to_string(kernel.spec)));
  }
  return *spec;
}

}  // namespace

void Kernel::launch(const Plan& plan_handle, const GqaDecodeArgs& args, CUstream_st* stream) const {
  const detail::PlanImpl& plan = plan_handle.impl();
  const auto& spec = spec_of<GqaDecodeSpec>(*impl_, plan, "GqaDecodeArgs");
  if (plan.num_work_items == 0) return;
  const Common common = common_of(args);
  check_common(common, plan);
  require_pointer("q", args.q, kTensorAlignment);
  const Strides k =
      check_pages("k_pages", args.k_pages, spec.page_size, spec.num_kv_heads, spec.head_dim, plan.owns_pages);
  const Strides v =
      check_pages("v_pages", args.v_pages, spec.page_size, spec.num_kv_heads, spec.head_dim, plan.owns_pages);

  upload_tables(*impl_, plan, args.workspace, stream);
  const GqaDecodeParams params{.q = args.q,
                               .k_pages = args.k_pages.data,
                               .v_pages = args.v_pages.data,
                               .out = args.out,
                               .lse = args.lse,
                               .kv_indptr = args.kv_indptr,
                               .kv_indices = args.kv_indices,
                               .kv_last_page_len = args.kv_last_page_len,
                               .work_items = at<const WorkItem>(args.workspace, plan.layout.work_items),
                               .partial_out = at<float>(args.workspace, plan.layout.partial_out),
                               .partial_stats = at<PartialStats>(args.workspace, plan.layout.partial_stats),
                               .k_page_stride = k.page,
                               .k_token_stride = k.token,
                               .k_head_stride = k.head,
                               .v_page_stride = v.page,
                               .v_token_stride = v.token,
                               .v_head_stride = v.head,
                               .num_qo_heads = spec.num_qo_heads,
                               .num_kv_heads = spec.num_kv_heads,
                               .sm_scale = args.sm_scale};
  impl_->decode->launch(
      {.x = static_cast<unsigned>(plan.num_work_items), .y = static_cast<unsigned>(spec.num_kv_heads)},
      bytes_of(params), stream);
  if (plan.num_split_requests > 0) launch_merge(plan, common, spec.num_qo_heads, stream);
}

void Kernel::launch(const Plan& plan_handle, const MlaDecodeArgs& args, CUstream_st* stream) const {
  const detail::PlanImpl& plan = plan_handle.impl();
  const auto& spec = spec_of<MlaDecodeSpec>(*impl_, plan, "MlaDecodeArgs");
  if (plan.num_work_items == 0) return;
  const Common common = common_of(args);
  check_common(common, plan);
  require_pointer("q_nope", args.q_nope, kTensorAlignment);
  require_pointer("q_pe", args.q_pe, kTensorAlignment);
  const Strides ckv = check_pages("ckv_pages", args.ckv_pages, spec.page_size, 1, spec.head_dim_ckv, plan.owns_pages);
  const Strides kpe = check_pages("kpe_pages", args.kpe_pages, spec.page_size, 1, spec.head_dim_kpe, plan.owns_pages);

  upload_tables(*impl_, plan, args.workspace, stream);
  const MlaDecodeParams params{.q_nope = args.q_nope,
                               .q_pe = args.q_pe,
                               .ckv_pages = args.ckv_pages.data,
                               .kpe_pages = args.kpe_pages.data,
                               .out = args.out,
                               .lse = args.lse,
                               .kv_indptr = args.kv_indptr,
                               .kv_indices = args.kv_indices,
                               .kv_last_page_len = args.kv_last_page_len,
                               .work_items = at<const WorkItem>(args.workspace, plan.layout.work_items),
                               .partial_out = at<float>(args.workspace, plan.layout.partial_out),
                               .partial_stats = at<PartialStats>(args.workspace, plan.layout.partial_stats),
                               .ckv_page_stride = ckv.page,
                               .ckv_token_stride = ckv.token,
                               .kpe_page_stride = kpe.page,
                               .kpe_token_stride = kpe.token,
                               .num_heads = spec.num_heads,
                               .sm_scale = args.sm_scale};
  const int rows = tiles::mla_rows(spec.num_heads);
  impl_->decode->launch(
      {.x = static_cast<unsigned>(plan.num_work_items), .y = static_cast<unsigned>((spec.num_heads + rows - 1) / rows)},
      bytes_of(params), stream);
  if (plan.num_split_requests > 0) launch_merge(plan, common, spec.num_heads, stream);
}

}  // namespace librt
