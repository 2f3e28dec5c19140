#include "tools/librt/decode.hpp"

#include <algorithm>

#include "tools/librt/numbers.hpp"

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

DecodeShape shape_of(const Spec& spec) {
  if (const auto gqa = spec.as<GqaDecodeSpec>()) {
    return {.dtype = gqa->dtype,
            .heads = gqa->num_qo_heads,
            .kv_heads = gqa->num_kv_heads,
            .query_dims = {gqa->head_dim, 0},
            .page_dims = {gqa->head_dim, gqa->head_dim},
            .out_dim = gqa->head_dim,
            .page_size = gqa->page_size};
  }
  const MlaDecodeSpec mla = spec.as<MlaDecodeSpec>().value();
  return {.dtype = mla.dtype,
          .heads = mla.num_heads,
          .kv_heads = 1,
          .query_dims = {mla.head_dim_ckv, mla.head_dim_kpe},
          .page_dims = {mla.head_dim_ckv, mla.head_dim_kpe},
          .out_dim = mla.head_dim_ckv,
          .page_size = mla.page_size};
}

PageStrides nhd_strides(const DecodeShape& shape, std::size_t part) {
  const std::int64_t dim = shape.page_dims[part];
  return {.page = shape.page_size * shape.kv_heads * dim, .token = shape.kv_heads * dim, .head = dim};
}

PageStrides hnd_strides(const DecodeShape& shape, std::size_t part) {
  const std::int64_t dim = shape.page_dims[part];
  return {.page = shape.page_size * shape.kv_heads * dim, .token = dim, .head = shape.page_size * dim};
}

std::int64_t row_of(const PageStrides& strides, std::int64_t page, std::int64_t slot, std::int64_t head) {
  return page * strides.page + slot * strides.token + head * strides.head;
}

void launch(const Kernel& kernel, const Plan& plan, const DecodeProblem& problem, const DecodeBuffers& buffers) {
  const auto* const kv_indptr = buffers.kv_indptr.as<const std::int32_t>();
  const auto* const kv_indices = buffers.kv_indices.as<const std::int32_t>();
  const auto* const kv_last_page_len = buffers.kv_last_page_len.as<const std::int32_t>();
  if (problem.spec.as<GqaDecodeSpec>()) {
    kernel.launch(plan, GqaDecodeArgs{.q = buffers.queries[0].data(),
                                      .k_pages = paged_tensor(problem, buffers, 0),
                                      .v_pages = paged_tensor(problem, buffers, 1),
                                      .kv_indptr = kv_indptr,
                                      .kv_indices = kv_indices,
                                      .kv_last_page_len = kv_last_page_len,
                                      .out = buffers.out.data(),
                                      .lse = buffers.lse.as<float>(),
                                      .workspace = buffers.workspace.data(),
                                      .sm_scale = problem.sm_scale});
  } else {
    kernel.launch(plan, MlaDecodeArgs{.q_nope = buffers.queries[0].data(),
                                      .q_pe = buffers.queries[1].data(),
                                      .ckv_pages = paged_tensor(problem, buffers, 0),
                                      .kpe_pages = paged_tensor(problem, buffers, 1),
                                      .kv_indptr = kv_indptr,
                                      .kv_indices = kv_indices,
                                      .kv_last_page_len = kv_last_page_len,
                                      .out = buffers.out.data(),
                                      .lse = buffers.lse.as<float>(),
                                      .workspace = buffers.workspace.data(),
                                      .sm_scale = problem.sm_scale});
  }
}

DecodeResult decode(Runtime& runtime, const Kernel& kernel, const DecodeProblem& problem, int split_pages) {
  const DecodeShape shape = shape_of(problem.spec);
  const std::size_t rows = static_cast<std::size_t>(problem.batch) * static_cast<std::size_t>(shape.heads);
  DecodeResult result{std::vector<std::uint16_t>(rows * static_cast<std::size_t>(shape.out_dim), kQuietNan),
                      std::vector<float>(rows, std::nanf(""))};
  if (problem.batch == 0) return result;

  const Plan plan = kernel.plan(problem.kv_indptr, problem.kv_last_page_len, {.split_pages = split_pages});
  const DecodeBuffers buffers{
      .queries = {to_device(runtime, problem.queries[0]), to_device(runtime, problem.queries[1])},
      .pages = {to_device(runtime, problem.pages[0]), to_device(runtime, problem.pages[1])},
      .kv_indptr = to_device(runtime, problem.kv_indptr),
      .kv_indices = to_device(runtime, problem.kv_indices),
      .kv_last_page_len = to_device(runtime, problem.kv_last_page_len),
      .out = to_device(runtime, result.out),
      .lse = to_device(runtime, result.lse),
      .workspace = plan.workspace_bytes() > 0 ? runtime.allocate(plan.workspace_bytes()) : Buffer{}};
  launch(kernel, plan, problem, buffers);
  runtime.synchronize();
  from_device(runtime, result.out, buffers.out);
  from_device(runtime, result.lse, buffers.lse);
  return result;
}

}  // namespace librt::tool
