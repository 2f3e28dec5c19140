#include "tools/librt/decode.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/reference/numbers.hpp"

namespace librt::tool {
namespace {

/// Device memory with these bytes; an empty tensor gets a small buffer, so that its pointer is a valid one.
Buffer to_device(Runtime& runtime, std::span<const std::byte> bytes) {
  constexpr std::size_t kSmallest = 256;
  Buffer buffer = runtime.allocate(std::max(bytes.size(), kSmallest));
  if (!bytes.empty()) runtime.upload(buffer, bytes);
  return buffer;
}

template <class T>
Buffer to_device(Runtime& runtime, const std::vector<T>& values) {
  return to_device(runtime, std::as_bytes(std::span(values)));
}

template <class T>
void from_device(Runtime& runtime, std::vector<T>& values, const Buffer& buffer) {
  if (!values.empty()) runtime.download(std::as_writable_bytes(std::span(values)), buffer);
}

PagedTensor paged_tensor(const DecodeProblem& problem, const DecodeBuffers& buffers, std::size_t part) {
  const PageStrides& strides = problem.strides[part];
  return {.data = buffers.pages[part].data(),
          .num_pages = problem.num_pages,
          .page_stride = strides.page,
          .token_stride = strides.token,
          .head_stride = strides.head};
}

}  // namespace

Use use_of(const KernelDescription& kernel, const Operand& operand) {
  const bool has_dtype = operand.form == Form::dense && operand.element != "f32" && operand.element != "i32";
  switch (operand.meaning) {
    case Meaning::kv_indptr:
      return Use::kv_indptr;
    case Meaning::kv_indices:
      return Use::kv_indices;
    case Meaning::kv_last_page_len:
      return Use::kv_last_page_len;
    case Meaning::none:
      break;
  }
  if (operand.form == Form::workspace) return Use::workspace;
  if (operand.form == Form::scalar && operand.name == "sm_scale") return Use::scale;
  if (operand.form == Form::paged && operand.access == Access::read) return Use::pages;
  if (has_dtype && operand.shape.size() == 3) return operand.access == Access::read ? Use::query : Use::out;
  if (operand.access == Access::write && operand.element == "f32" && operand.shape.size() == 2) return Use::lse;
  throw Error(ErrorCode::unsupported,
              fmt::format("kernel {}: batches have nothing for the operand {}", kernel.name, operand.name));
}

DecodeProblem problem_of(const reference::Batch& batch) {
  DecodeProblem problem{.spec = batch.spec,
                        .sm_scale = batch.sm_scale,
                        .batch = batch.size(),
                        .num_pages = batch.first.num_pages,
                        .kv_indptr = batch.kv_indptr,
                        .kv_indices = batch.kv_indices,
                        .kv_last_page_len = batch.kv_last_page_len};
  for (const auto* const queries : {&batch.q, &batch.q_pe}) {
    if (queries == &batch.q || batch.shape.q_pe_dim() > 0)
      problem.queries.push_back(std::as_bytes(std::span(*queries)));
  }
  for (const reference::PagedStore* const store : {&batch.first, &batch.second}) {
    problem.pages.push_back(std::as_bytes(std::span(store->data)));
    problem.strides.push_back({store->page_stride, store->token_stride, store->head_stride});
  }
  return problem;
}

DecodeShape shape_of(const Spec& spec) {
  const KernelDescription& kernel = description(*spec.kind());
  DecodeShape shape{.kv_heads = 1};
  for (const Operand& operand : kernel.operands) {
    const Use use = use_of(kernel, operand);
    shape.has_lse = shape.has_lse || use == Use::lse;
    if (use != Use::query && use != Use::pages && use != Use::out) continue;
    const PartShape part{operand.name, operand.shape.back(), spec.get(operand.shape.back())};
    if (use == Use::query) shape.queries.push_back(part);
    if (use == Use::pages) {
      shape.pages.push_back(part);
      shape.page_size = spec.get(operand.shape[1]);
      if (operand.shape.size() == 4) shape.kv_heads = spec.get(operand.shape[2]);
    }
    if (use == Use::out) {
      shape.dtype = spec.dtype(operand.element);
      shape.heads = spec.get(operand.shape[1]);
      shape.out_dim = part.dim;
    }
  }
  return shape;
}

PageStrides nhd_strides(const DecodeShape& shape, std::size_t part) {
  const std::int64_t dim = shape.pages[part].dim;
  return {.page = shape.page_size * shape.kv_heads * dim, .token = shape.kv_heads * dim, .head = dim};
}

PageStrides hnd_strides(const DecodeShape& shape, std::size_t part) {
  const std::int64_t dim = shape.pages[part].dim;
  return {.page = shape.page_size * shape.kv_heads * dim, .token = dim, .head = shape.page_size * dim};
}

std::int64_t row_of(const PageStrides& strides, std::int64_t page, std::int64_t slot, std::int64_t head) {
  return page * strides.page + slot * strides.token + head * strides.head;
}

void launch(const Kernel& kernel, const Plan& plan, const DecodeProblem& problem, const DecodeBuffers& buffers) {
  const KernelDescription& described = description(*problem.spec.kind());
  std::vector<Binding> bindings;
  std::size_t query = 0, part = 0;
  for (const Operand& operand : described.operands) {
    switch (use_of(described, operand)) {
      case Use::query:
        bindings.emplace_back(operand.name, buffers.queries[query++].data());
        break;
      case Use::pages:
        bindings.emplace_back(operand.name, paged_tensor(problem, buffers, part++));
        break;
      case Use::kv_indptr:
        bindings.emplace_back(operand.name, buffers.kv_indptr.data());
        break;
      case Use::kv_indices:
        bindings.emplace_back(operand.name, buffers.kv_indices.data());
        break;
      case Use::kv_last_page_len:
        bindings.emplace_back(operand.name, buffers.kv_last_page_len.data());
        break;
      case Use::out:
        bindings.emplace_back(operand.name, buffers.out.data());
        break;
      case Use::lse:
        bindings.emplace_back(operand.name, buffers.lse.data());
        break;
      case Use::workspace:
        bindings.emplace_back(operand.name, Workspace(buffers.workspace));
        break;
      case Use::scale:
        bindings.emplace_back(operand.name, problem.sm_scale);
        break;
    }
  }
  kernel.launch(plan, bindings);
}

DecodeResult decode(Runtime& runtime, const Kernel& kernel, const DecodeProblem& problem, int split_pages) {
  const DecodeShape shape = shape_of(problem.spec);
  const std::size_t rows = static_cast<std::size_t>(problem.batch) * static_cast<std::size_t>(shape.heads);
  DecodeResult result{std::vector<std::uint16_t>(rows * static_cast<std::size_t>(shape.out_dim), reference::kNaN),
                      std::vector<float>(shape.has_lse ? rows : 0, std::nanf(""))};
  if (problem.batch == 0) return result;

  const Plan plan =
      kernel.plan({problem.kv_indptr, problem.kv_last_page_len}, {.limits = {.split_pages = split_pages}});
  DecodeBuffers buffers{.kv_indptr = to_device(runtime, problem.kv_indptr),
                        .kv_indices = to_device(runtime, problem.kv_indices),
                        .kv_last_page_len = to_device(runtime, problem.kv_last_page_len),
                        .out = to_device(runtime, result.out),
                        .lse = to_device(runtime, result.lse),
                        .workspace = plan.workspace_bytes() > 0 ? runtime.allocate(plan.workspace_bytes()) : Buffer{}};
  for (const auto& query : problem.queries) buffers.queries.push_back(to_device(runtime, query));
  for (const auto& pages : problem.pages) buffers.pages.push_back(to_device(runtime, pages));
  kernel.stage(plan, buffers.workspace);
  launch(kernel, plan, problem, buffers);
  runtime.synchronize();
  from_device(runtime, result.out, buffers.out);
  from_device(runtime, result.lse, buffers.lse);
  return result;
}

}  // namespace librt::tool
