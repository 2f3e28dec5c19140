#include "tools/librt/tensor_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "tools/librt/metadata.hpp"
#include "tools/librt/unread_names.hpp"

namespace librt::tool {
namespace {

using util::Safetensors;
using util::Tensor;

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorCode::unsupported, what);
}

std::string in_words(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// --- tensors ---

const Tensor& require_tensor(const Safetensors& file, std::string_view name, std::size_t rank) {
  const Tensor* const tensor = file.find(name);
  if (tensor == nullptr) refuse(missing_tensor(file, name));
  if (tensor->shape.size() != rank) {
    refuse(fmt::format("tensor {} has shape {}; it must have {} dimensions", name, in_words(tensor->shape), rank));
  }
  for (const std::int64_t extent : tensor->shape) {
    if (extent > kMaxInt)
      refuse(fmt::format("tensor {} has shape {}, which is too large", name, in_words(tensor->shape)));
  }
  return *tensor;
}

std::vector<std::int32_t> read_integers(const Safetensors& file, const std::string& name) {
  const Tensor& tensor = require_tensor(file, name, 1);
  if (tensor.dtype != "I32") refuse(fmt::format("tensor {} is {}; it must be I32", name, tensor.dtype));
  std::vector<std::int32_t> values(tensor.bytes.size() / sizeof(std::int32_t));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

DType read_dtype(const std::string& name, const Tensor& tensor) {
  if (tensor.dtype == "BF16") return DType::bf16;
  if (tensor.dtype == "F16") return DType::f16;
  if (tensor.dtype.starts_with("F8_") || tensor.dtype == "U8" || tensor.dtype == "I8") {
    unsupported(fmt::format("tensor {} is {}; 8-bit caches are not supported: BF16 and F16 are", name, tensor.dtype));
  }
  refuse(fmt::format("tensor {} is {}; allowed: BF16, F16", name, tensor.dtype));
}

void require_dtype(const std::string& name, const Tensor& tensor, const std::string& like, DType dtype) {
  if (read_dtype(name, tensor) != dtype) {
    refuse(fmt::format("tensor {} is {}, but {} is {}; they must be the same", name, tensor.dtype, like,
                       dtype == DType::bf16 ? "BF16" : "F16"));
  }
}

void require_extent(const std::string& name, const Tensor& tensor, std::size_t dimension, std::int64_t expected,
                    const std::string& because) {
  if (tensor.shape[dimension] != expected) {
    refuse(fmt::format("tensor {} has shape {}; dimension {} must be {}, {}", name, in_words(tensor.shape), dimension,
                       expected, because));
  }
}

int extent(const Tensor& tensor, std::size_t dimension) {
  return static_cast<int>(tensor.shape[dimension]);
}

void read_gqa(const Safetensors& file, bool hnd, DecodeProblem& problem) {
  const Tensor& q = require_tensor(file, "q", 3);
  const Tensor& k = require_tensor(file, "k_pages", 4);
  const Tensor& v = require_tensor(file, "v_pages", 4);
  const DType dtype = read_dtype("q", q);
  require_dtype("k_pages", k, "q", dtype);
  require_dtype("v_pages", v, "q", dtype);
  if (v.shape != k.shape) {
    refuse(fmt::format("tensor v_pages has shape {}, but k_pages {}", in_words(v.shape), in_words(k.shape)));
  }
  require_extent("q", q, 0, problem.batch, "one query token for each of the kv_indptr's requests");
  require_extent("k_pages", k, 3, q.shape[2], "the head_dim of q");
  const std::size_t head_dimension = hnd ? 1 : 2;
  problem.spec = GqaDecodeSpec{.dtype = dtype,
                               .num_qo_heads = extent(q, 1),
                               .num_kv_heads = extent(k, head_dimension),
                               .head_dim = extent(q, 2),
                               .page_size = extent(k, 3 - head_dimension)};
  problem.num_pages = k.shape[0];
  problem.queries = {q.bytes, {}};
  problem.pages = {k.bytes, v.bytes};
}

void read_mla(const Safetensors& file, DecodeProblem& problem) {
  const Tensor& q_nope = require_tensor(file, "q_nope", 3);
  const Tensor& q_pe = require_tensor(file, "q_pe", 3);
  const Tensor& ckv = require_tensor(file, "ckv_pages", 3);
  const Tensor& kpe = require_tensor(file, "kpe_pages", 3);
  const DType dtype = read_dtype("q_nope", q_nope);
  require_dtype("q_pe", q_pe, "q_nope", dtype);
  require_dtype("ckv_pages", ckv, "q_nope", dtype);
  require_dtype("kpe_pages", kpe, "q_nope", dtype);
  require_extent("q_nope", q_nope, 0, problem.batch, "one query token for each of the kv_indptr's requests");
  require_extent("q_pe", q_pe, 0, problem.batch, "one query token for each of the kv_indptr's requests");
  require_extent("q_pe", q_pe, 1, q_nope.shape[1], "the heads of q_nope");
  require_extent("ckv_pages", ckv, 2, q_nope.shape[2], "the last dimension of q_nope");
  require_extent("kpe_pages", kpe, 2, q_pe.shape[2], "the last dimension of q_pe");
  require_extent("kpe_pages", kpe, 0, ckv.shape[0], "the number of pages of ckv_pages");
  require_extent("kpe_pages", kpe, 1, ckv.shape[1], "the page size of ckv_pages");
  problem.spec = MlaDecodeSpec{.dtype = dtype,
                               .num_heads = extent(q_nope, 1),
                               .head_dim_ckv = extent(q_nope, 2),
                               .head_dim_kpe = extent(q_pe, 2),
                               .page_size = extent(ckv, 1)};
  problem.num_pages = ckv.shape[0];
  problem.queries = {q_nope.bytes, q_pe.bytes};
  problem.pages = {ckv.bytes, kpe.bytes};
}

// --- the page table ---

void check_one_token_a_request(const Safetensors& file, int batch) {
  if (file.find("qo_indptr") == nullptr) return;
  const std::vector<std::int32_t> qo_indptr = read_integers(file, "qo_indptr");
  if (qo_indptr.size() != static_cast<std::size_t>(batch) + 1) {
    refuse(fmt::format("tensor qo_indptr has {} elements, but kv_indptr has {}", qo_indptr.size(), batch + 1));
  }
  for (std::size_t i = 0; i < qo_indptr.size(); ++i) {
    if (qo_indptr[i] != static_cast<std::int32_t>(i)) {
      unsupported(
          fmt::format("tensor qo_indptr: element {} is {}; only one query token a request is supported, so that "
                      "it must be {}",
                      i, qo_indptr[i], i));
    }
  }
}

void check_table(const DecodeProblem& problem, int page_size) {
  const auto& indptr = problem.kv_indptr;
  if (indptr[0] < 0) refuse(fmt::format("tensor kv_indptr: element 0 is {}; allowed: 0 or above", indptr[0]));
  if (static_cast<std::size_t>(indptr[0]) > problem.kv_indices.size()) {
    refuse(fmt::format("tensor kv_indptr: element 0 is {}, past the end of kv_indices, which has {} elements",
                       indptr[0], problem.kv_indices.size()));
  }
  for (std::size_t i = 1; i < indptr.size(); ++i) {
    if (indptr[i] < indptr[i - 1]) {
      refuse(fmt::format("tensor kv_indptr: element {} is {}, below the {} before it; it must never fall", i, indptr[i],
                         indptr[i - 1]));
    }
    if (static_cast<std::size_t>(indptr[i]) > problem.kv_indices.size()) {
      refuse(fmt::format("tensor kv_indptr: element {} is {}, past the end of kv_indices, which has {} elements", i,
                         indptr[i], problem.kv_indices.size()));
    }
  }
  for (std::size_t b = 0; b + 1 < indptr.size(); ++b) {
    const std::int64_t pages = indptr[b + 1] - indptr[b];
    if (pages == 0) continue;
    const std::int32_t last = problem.kv_last_page_len[b];
    if (last < 1 || last > page_size) {
      refuse(fmt::format("tensor kv_last_page_len: element {} is {}; allowed for a request with pages: 1..{}", b, last,
                         page_size));
    }
    if ((pages - 1) * page_size + last > kMaxInt) {
      refuse(
          fmt::format("tensor kv_indptr: element {} gives request {} {} pages of {} tokens; at most {} tokens are "
                      "supported",
                      b + 1, b, pages, page_size, kMaxInt));
    }
  }
  for (auto i = static_cast<std::size_t>(indptr.front()); i < static_cast<std::size_t>(indptr.back()); ++i) {
    if (problem.kv_indices[i] < 0 || problem.kv_indices[i] >= problem.num_pages) {
      refuse(fmt::format("tensor kv_indices: element {} is {}, but there are {} pages, and a request owns this entry",
                         i, problem.kv_indices[i], problem.num_pages));
    }
  }
}

}  // namespace

TensorFile read_tensor_file(const std::string& path) {
  TensorFile result{Safetensors::load(path), {}, {}};
  const Safetensors& file = result.file;
  DecodeProblem& problem = result.problem;
  const std::string kernel = read_kernel(file);
  UnreadNames unread = unread_names(file, kernel);
  if (!unread.refused.empty()) unsupported(unread.refused.front());
  result.ignored = std::move(unread.ignored);
  problem.sm_scale = read_sm_scale(file);
  const bool hnd = read_hnd(file);
  for (const auto& check : kMetadataChecks) check(file);

  problem.kv_indptr = read_integers(file, "kv_indptr");
  problem.kv_indices = read_integers(file, "kv_indices");
  problem.kv_last_page_len = read_integers(file, "kv_last_page_len");
  if (problem.kv_indptr.empty()) refuse("tensor kv_indptr has no elements; it must have batch + 1");
  problem.batch = static_cast<int>(problem.kv_indptr.size()) - 1;
  if (problem.kv_last_page_len.size() != static_cast<std::size_t>(problem.batch)) {
    refuse(fmt::format("tensor kv_last_page_len has {} elements; kv_indptr has {}, so that {} are needed",
                       problem.kv_last_page_len.size(), problem.kv_indptr.size(), problem.batch));
  }
  check_one_token_a_request(file, problem.batch);
  kernel == "gqa_decode" ? read_gqa(file, hnd, problem) : read_mla(file, problem);
  try {
    validate(problem.spec);
  } catch (const Error& error) {
    refuse(fmt::format("the shapes of tensors {}: {}",
                       kernel == "gqa_decode" ? "q, k_pages" : "q_nope, q_pe, ckv_pages", error.what()));
  }
  const DecodeShape shape = shape_of(problem.spec);
  check_stated_sizes(file, kernel, shape);
  for (std::size_t part = 0; part < 2; ++part)
    problem.strides[part] = hnd ? hnd_strides(shape, part) : nhd_strides(shape, part);
  check_table(problem, shape.page_size);
  return result;
}

std::vector<std::byte> batch_file(const DecodeProblem& problem) {
  const DecodeShape shape = shape_of(problem.spec);
  const bool gqa = problem.spec.as<GqaDecodeSpec>().has_value();
  const std::string dtype = shape.dtype == DType::bf16 ? "BF16" : "F16";
  std::map<std::string, Tensor> tensors;
  for (std::size_t part = 0; part < 2; ++part) {
    if (shape.query_dims[part] > 0) {
      tensors[gqa         ? "q"
              : part == 0 ? "q_nope"
                          : "q_pe"] = {
          dtype, {problem.batch, shape.heads, shape.query_dims[part]}, problem.queries[part]};
    }
    std::vector<std::int64_t> pages{problem.num_pages, shape.page_size};
    if (gqa) pages.push_back(shape.kv_heads);
    pages.push_back(shape.page_dims[part]);
    const char* const name = gqa ? (part == 0 ? "k_pages" : "v_pages") : (part == 0 ? "ckv_pages" : "kpe_pages");
    tensors[name] = {dtype, std::move(pages), problem.pages[part]};
  }
  const auto add_integers = [&](const char* name, const std::vector<std::int32_t>& values) {
    tensors[name] = {"I32", {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))};
  };
  add_integers("kv_indptr", problem.kv_indptr);
  add_integers("kv_indices", problem.kv_indices);
  add_integers("kv_last_page_len", problem.kv_last_page_len);
  return util::write_safetensors(
      tensors, {{"kernel", std::string(kernel_name(problem.spec))}, {"sm_scale", fmt::format("{}", problem.sm_scale)}});
}

std::vector<std::byte> result_file(const DecodeProblem& problem, const DecodeResult& result) {
  const DecodeShape shape = shape_of(problem.spec);
  const Tensor out{shape.dtype == DType::bf16 ? "BF16" : "F16",
                   {problem.batch, shape.heads, shape.out_dim},
                   std::as_bytes(std::span(result.out))};
  const Tensor lse{"F32", {problem.batch, shape.heads}, std::as_bytes(std::span(result.lse))};
  return util::write_safetensors({{"out", out}, {"lse", lse}}, {{"kernel", std::string(kernel_name(problem.spec))}});
}

}  // namespace librt::tool
