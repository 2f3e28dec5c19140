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

PagedTensor paged_tensor(const Buffer& buffer, const DecodeProblem& problem, const DecodeShape& shape, int dim) {
  PagedTensor tensor{.data = buffer.data(), .num_pages = problem.num_pages};
  if (problem.hnd) {
    tensor.page_stride = std::int64_t{shape.kv_heads} * shape.page_size * dim;
    tensor.head_stride = std::int64_t{shape.page_size} * dim;
    tensor.token_stride = dim;
  }
  return tensor;
}

}  // namespace

DecodeShape shape_of(const Spec& spec) {
  if (const auto* const gqa = std::get_if<GqaDecodeSpec>(&spec)) {
    return {.dtype = gqa->dtype,
            .heads = gqa->num_qo_heads,
            .kv_heads = gqa->num_kv_heads,
            .query_dims = {gqa->head_dim, 0},
            .page_dims = {gqa->head_dim, gqa->head_dim},
            .out_dim = gqa->head_dim,
            .page_size = gqa->page_size};
  }
  const auto& mla = std::get<MlaDecodeSpec>(spec);
  return {.dtype = mla.dtype,
          .heads = mla.num_heads,
          .kv_heads = 1,
          .query_dims = {mla.head_dim_ckv, mla.head_dim_kpe},
          .page_dims = {mla.head_dim_ckv, mla.head_dim_kpe},
          .out_dim = mla.head_dim_ckv,
          .page_size = mla.page_size};
}

DecodeResult decode(Runtime& runtime, const Kernel& kernel, const DecodeProblem& problem, int split_pages) {
  const DecodeShape shape = shape_of(problem.spec);
  const std::size_t rows = static_cast<std::size_t>(problem.batch) * static_cast<std::size_t>(shape.heads);
  DecodeResult result{std::vector<std::uint16_t>(rows * static_cast<std::size_t>(shape.out_dim), kQuietNan),
                      std::vector<float>(rows, std::nanf(""))};
  if (problem.batch == 0) return result;

  const Plan plan = kernel.plan(problem.kv_indptr, problem.kv_last_page_len, {.split_pages = split_pages});
  const std::array queries = {to_device(runtime, problem.queries[0]), to_device(runtime, problem.queries[1])};
  const std::array pages = {to_device(runtime, problem.pages[0]), to_device(runtime, problem.pages[1])};
  const Buffer kv_indptr = to_device(runtime, problem.kv_indptr);
  const Buffer kv_indices = to_device(runtime, problem.kv_indices);
  const Buffer kv_last_page_len = to_device(runtime, problem.kv_last_page_len);
  const Buffer out = to_device(runtime, result.out);
  const Buffer lse = to_device(runtime, result.lse);
  const Buffer workspace = plan.workspace_bytes() > 0 ? runtime.allocate(plan.workspace_bytes()) : Buffer{};
  const auto first = paged_tensor(pages[0], problem, shape, shape.page_dims[0]);
  const auto second = paged_tensor(pages[1], problem, shape, shape.page_dims[1]);

  if (std::holds_alternative<GqaDecodeSpec>(problem.spec)) {
    kernel.launch(plan, GqaDecodeArgs{.q = queries[0].data(),
                                      .k_pages = first,
                                      .v_pages = second,
                                      .kv_indptr = kv_indptr.as<const std::int32_t>(),
                                      .kv_indices = kv_indices.as<const std::int32_t>(),
                                      .kv_last_page_len = kv_last_page_len.as<const std::int32_t>(),
                                      .out = out.data(),
                                      .lse = lse.as<float>(),
                                      .workspace = workspace.data(),
                                      .sm_scale = problem.sm_scale});
  } else {
    kernel.launch(plan, MlaDecodeArgs{.q_nope = queries[0].data(),
                                      .q_pe = queries[1].data(),
                                      .ckv_pages = first,
                                      .kpe_pages = second,
                                      .kv_indptr = kv_indptr.as<const std::int32_t>(),
                                      .kv_indices = kv_indices.as<const std::int32_t>(),
                                      .kv_last_page_len = kv_last_page_len.as<const std::int32_t>(),
                                      .out = out.data(),
                                      .lse = lse.as<float>(),
                                      .workspace = workspace.data(),
                                      .sm_scale = problem.sm_scale});
  }
  runtime.synchronize();
  from_device(runtime, result.out, out);
  from_device(runtime, result.lse, lse);
  return result;
}

}  // namespace librt::tool
