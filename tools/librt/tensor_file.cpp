#include "tools/librt/tensor_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

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

// --- metadata ---

std::optional<std::string> metadata(const Safetensors& file, const std::string& name) {
  const auto found = file.metadata().find(name);
  // What Python writes for a value that is not set.
  if (found == file.metadata().end() || found->second.empty() || found->second == "None") return {};
  return found->second;
}

double number(const std::string& name, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    refuse(fmt::format("metadata {} is \"{}\", which is not a number", name, text));
  }
  return value;
}

}  // namespace

std::string read_kernel(const Safetensors& file) {
  const auto kernel = metadata(file, "kernel");
  if (!kernel || (*kernel != "gqa_decode" && *kernel != "mla_decode")) {
    refuse(fmt::format("metadata kernel is {}; allowed: gqa_decode, mla_decode", kernel ? *kernel : "missing"));
  }
  return *kernel;
}

float read_sm_scale(const Safetensors& file) {
  const auto text = metadata(file, "sm_scale");
  if (!text) refuse("metadata sm_scale is missing; it is the factor of q.k, usually 1/sqrt(head_dim)");
  const auto scale = static_cast<float>(number("sm_scale", *text));
  if (!std::isfinite(scale) || scale == 0) {
    refuse(fmt::format("metadata sm_scale is {}; it must be finite and not 0 as a 32-bit number", *text));
  }
  return scale;
}

bool read_hnd(const Safetensors& file) {
  const auto layout = metadata(file, "kv_layout");
  if (!layout || *layout == "NHD") return false;
  if (*layout == "HND") return true;
  refuse(fmt::format("metadata kv_layout is \"{}\"; allowed: NHD, HND", *layout));
}

/// With one query token a request, a causal mask hides nothing, so either value is the same batch.
void check_masks(const Safetensors& file) {
  if (const auto causal = metadata(file, "causal")) {
    constexpr std::array kAllowed = {"true", "false", "True", "False", "1", "0"};
    if (std::find(kAllowed.begin(), kAllowed.end(), *causal) == kAllowed.end()) {
      refuse(fmt::format("metadata causal is \"{}\"; allowed: true, false", *causal));
    }
  }
  if (const auto window = metadata(file, "window_left")) {
    if (!(number("window_left", *window) < 0)) {
      unsupported(fmt::format("metadata window_left is {}; a sliding window is not supported (-1 = none)", *window));
    }
  }
  if (const auto cap = metadata(file, "logits_soft_cap")) {
    if (!(number("logits_soft_cap", *cap) <= 0)) {
      unsupported(fmt::format("metadata logits_soft_cap is {}; a soft cap is not supported (0 = none)", *cap));
    }
  }
}

namespace {

// --- tensors ---

const Tensor& require_tensor(const Safetensors& file, const std::string& name, std::size_t rank) {
  const Tensor* const tensor = file.find(name);
  if (tensor == nullptr) refuse(fmt::format("tensor {} is missing", name));
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
  if (tensor.dtype.starts_with("F8_")) {
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
  TensorFile result{Safetensors::load(path), {}};
  const Safetensors& file = result.file;
  DecodeProblem& problem = result.problem;
  const std::string kernel = read_kernel(file);
  problem.sm_scale = read_sm_scale(file);
  const bool hnd = read_hnd(file);
  check_masks(file);

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
  for (std::size_t part = 0; part < 2; ++part)
    problem.strides[part] = hnd ? hnd_strides(shape, part) : nhd_strides(shape, part);
  check_table(problem, shape.page_size);
  return result;
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
