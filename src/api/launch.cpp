// Kernel::launch: checks the arguments, fills the parameter struct, enqueues the decode and the merge.
#include <librt/error.hpp>
#include <librt/kernel.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/gqa_decode/gqa_decode.h"
#include "kernels/merge_states/merge_states.h"
#include "kernels/mla_decode/mla_decode.h"
#include "src/api/boundary.hpp"
#include "src/api/kernel_impl.hpp"
#include "src/api/launch_checks.hpp"
#include "src/api/page_ids.hpp"
#include "src/api/plan_impl.hpp"

namespace librt {
namespace {

constexpr std::uintptr_t kWorkspaceAlignment = 256;
constexpr int kMaxGridY = 65535;
constexpr std::size_t kElement = 2;  // bytes of q and out

using api::kTensorAlignment;
using api::PagedArgument;
using api::Region;
using api::require_aligned;
using api::require_pointer;
using api::Strides;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

std::uintptr_t address_of(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
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

/// A query tensor of [batch, heads, dim].
struct Query {
  std::string_view name;
  const void* data;
  int dim;
};

/// What is checked after the arguments one by one: how they fit together.
void check_together(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, const Common& args, int heads,
                    std::span<const Query> queries, const std::array<PagedArgument, 2>& pages) {
  api::require_equal_pages(pages[0], pages[1]);
  const std::size_t rows = static_cast<std::size_t>(plan.batch) * static_cast<std::size_t>(heads);
  const auto bytes_of_rows = [&](int dim) { return rows * static_cast<std::size_t>(dim) * kElement; };
  const std::size_t ints = static_cast<std::size_t>(plan.batch) * sizeof(std::int32_t);
  const std::array written = {Region{"out", args.out, bytes_of_rows(queries[0].dim)},
                              Region{"lse", args.lse, rows * sizeof(float)},
                              Region{"workspace", args.workspace, plan.layout.total_bytes}};
  std::array<Region, 7> read = {Region{"kv_indptr", args.kv_indptr, ints + sizeof(std::int32_t)},
                                Region{"kv_last_page_len", args.kv_last_page_len, ints},
                                Region{"kv_indices", args.kv_indices}, Region{pages[0].name, pages[0].tensor.data},
                                Region{pages[1].name, pages[1].tensor.data}};
  std::size_t used = read.size() - 2;
  for (const Query& query : queries) read.at(used++) = {query.name, query.data, bytes_of_rows(query.dim)};
  api::require_apart(written, std::span(read).first(used));
  if (!kernel.device->properties().is_virtual) return;
  api::check_page_ids(*kernel.device, plan,
                      {.kv_indptr = args.kv_indptr,
                       .kv_indices = args.kv_indices,
                       .kv_last_page_len = args.kv_last_page_len,
                       .num_pages = pages[0].tensor.num_pages});
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

void launch_gqa(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, const GqaDecodeArgs& args,
                CUstream_st* stream) {
  const auto& spec = spec_of<GqaDecodeSpec>(kernel, plan, "GqaDecodeArgs");
  if (plan.num_work_items == 0) return;
  const Common common = common_of(args);
  check_common(common, plan);
  require_pointer("q", args.q, kTensorAlignment);
  const std::array pages = {PagedArgument{"k_pages", args.k_pages, spec.page_size, spec.num_kv_heads, spec.head_dim},
                            PagedArgument{"v_pages", args.v_pages, spec.page_size, spec.num_kv_heads, spec.head_dim}};
  const Strides k = api::check_pages(pages[0], plan.owns_pages);
  const Strides v = api::check_pages(pages[1], plan.owns_pages);
  check_together(kernel, plan, common, spec.num_qo_heads, std::array{Query{"q", args.q, spec.head_dim}}, pages);

  upload_tables(kernel, plan, args.workspace, stream);
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
  kernel.decode->launch(
      {.x = static_cast<unsigned>(plan.num_work_items), .y = static_cast<unsigned>(spec.num_kv_heads)},
      bytes_of(params), stream);
  if (plan.num_split_requests > 0) launch_merge(plan, common, spec.num_qo_heads, stream);
}

void launch_mla(const detail::KernelImpl& kernel, const detail::PlanImpl& plan, const MlaDecodeArgs& args,
                CUstream_st* stream) {
  const auto& spec = spec_of<MlaDecodeSpec>(kernel, plan, "MlaDecodeArgs");
  if (plan.num_work_items == 0) return;
  const Common common = common_of(args);
  check_common(common, plan);
  require_pointer("q_nope", args.q_nope, kTensorAlignment);
  require_pointer("q_pe", args.q_pe, kTensorAlignment);
  const std::array pages = {PagedArgument{"ckv_pages", args.ckv_pages, spec.page_size, 1, spec.head_dim_ckv},
                            PagedArgument{"kpe_pages", args.kpe_pages, spec.page_size, 1, spec.head_dim_kpe}};
  const Strides ckv = api::check_pages(pages[0], plan.owns_pages);
  const Strides kpe = api::check_pages(pages[1], plan.owns_pages);
  check_together(
      kernel, plan, common, spec.num_heads,
      std::array{Query{"q_nope", args.q_nope, spec.head_dim_ckv}, Query{"q_pe", args.q_pe, spec.head_dim_kpe}}, pages);

  upload_tables(kernel, plan, args.workspace, stream);
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
  kernel.decode->launch(
      {.x = static_cast<unsigned>(plan.num_work_items), .y = static_cast<unsigned>((spec.num_heads + rows - 1) / rows)},
      bytes_of(params), stream);
  if (plan.num_split_requests > 0) launch_merge(plan, common, spec.num_heads, stream);
}

}  // namespace

void Kernel::launch(const Plan& plan, const GqaDecodeArgs& args, CUstream_st* stream) const {
  const detail::KernelImpl& kernel = impl();
  api::at_boundary([&] { launch_gqa(kernel, plan.impl(), args, stream); });
}

void Kernel::launch(const Plan& plan, const MlaDecodeArgs& args, CUstream_st* stream) const {
  const detail::KernelImpl& kernel = impl();
  api::at_boundary([&] { launch_mla(kernel, plan.impl(), args, stream); });
}

}  // namespace librt
