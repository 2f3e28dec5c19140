#include "tools/librt/tensor_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <sstream>
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

const Tensor& require_integers(const Safetensors& file, const std::string& name) {
  const Tensor& tensor = require_tensor(file, name, 1);
  if (tensor.dtype != "I32") refuse(fmt::format("tensor {} is {}; it must be I32", name, tensor.dtype));
  return tensor;
}

std::vector<std::int32_t> read_integers(const Safetensors& file, const std::string& name) {
  const Tensor& tensor = require_integers(file, name);
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

/// The values of a spec, each as the first tensor that says it.
class SpecReader {
 public:
  SpecReader(const Safetensors& file, std::string_view kernel, bool hnd)
      : file_(file), kind_(*find_kernel(kernel)), hnd_(hnd) {}

  /// A batch for a plan.
  void read(DecodeProblem& problem) {
    said_["batch"] = {problem.batch, {}};
    const KernelDescription& kernel = description(kind_);
    for (const Operand& operand : kernel.operands) {
      const Use use = use_of(kernel, operand);
      if (use != Use::query && use != Use::pages) continue;
      const Tensor& tensor = read_shape(operand);
      (use == Use::query ? problem.queries : problem.pages).push_back(tensor.bytes);
    }
    problem.num_pages = said_.at("num_pages").value;
    problem.spec = spec_of(kernel);
  }

  /// All that a launch without a plan takes.
  OperandLaunch read() {
    const KernelDescription& kernel = description(kind_);
    OperandLaunch launch{.hnd = hnd_};
    for (const Operand& operand : kernel.operands) {
      OperandLaunch::Argument& argument = launch.arguments.emplace_back();
      if (operand.form == Form::count) continue;
      argument.name = name_in_file(operand);
      argument.tensor = operand.shape.empty() ? &require_integers(file_, argument.name) : &read_shape(operand);
    }
    for (std::size_t i = 0; i < kernel.operands.size(); ++i) {
      if (kernel.operands[i].form == Form::count) launch.arguments[i].count = said_.at(kernel.operands[i].name).value;
    }
    launch.num_pages = said_.contains("num_pages") ? said_.at("num_pages").value : 0;
    launch.spec = spec_of(kernel);
    return launch;
  }

 private:
  struct Said {
    std::int64_t value = 0;
    std::string_view tensor{};
  };

  /// The operand's own, or one that engines give it.
  std::string name_in_file(const Operand& operand) const {
    std::istringstream aliases{std::string(operand.aliases)};
    for (std::string alias; file_.find(operand.name) == nullptr && aliases >> alias;) {
      if (file_.find(alias) != nullptr) return alias;
    }
    return std::string(operand.name);
  }

  const Tensor& read_shape(const Operand& operand) {
    const std::string_view name = *names_.insert(name_in_file(operand)).first;
    std::vector<std::string_view> extents(operand.shape.begin(), operand.shape.end());
    // Of new rows and the pages that they go to, a file with one head may leave that dimension out.
    const bool has_heads = operand.form == Form::rows ? extents.size() == 3 : operand.access == Access::update;
    const Tensor* const found = file_.find(name);
    if (has_heads && found != nullptr && found->shape.size() + 1 == extents.size()) {
      say(name, *found, 0, extents[extents.size() - 2], 1);
      extents.erase(extents.end() - 2);
    }
    const std::size_t rank = extents.size();
    const Tensor& tensor =
        operand.element == "i32" ? require_integers(file_, std::string(name)) : require_tensor(file_, name, rank);
    if (operand.element != "i32") read_element(operand, name, tensor);
    for (std::size_t i = 0; i < rank; ++i) {
      // In the file, heads come before tokens where the layout is HND.
      const bool swapped = hnd_ && operand.form == Form::paged && rank == 4 && (i == 1 || i == 2);
      const std::size_t dimension = swapped ? 3 - i : i;
      say(name, tensor, dimension, extents[i], tensor.shape[dimension]);
    }
    tensors_.push_back(name);
    return tensor;
  }

  void say(std::string_view name, const Tensor& tensor, std::size_t dimension, std::string_view extent,
           std::int64_t value) {
    constexpr std::string_view kAndOne = " + 1";
    const int plus = extent.ends_with(kAndOne) ? 1 : 0;
    if (plus == 1) extent.remove_suffix(kAndOne.size());
    if (value < plus) refuse(fmt::format("tensor {} has no elements; it must have {} + 1", name, extent));
    const auto [known, is_new] = said_.try_emplace(extent, Said{value - plus, name});
    if (is_new || known->second.value == value - plus) return;
    const std::string because = known->second.tensor.empty()
                                    ? "one query token for each of the kv_indptr's requests"
                                    : fmt::format("the {} of {}", extent, known->second.tensor);
    refuse(fmt::format("tensor {} has shape {}; dimension {} must be {}, {}", name, in_words(tensor.shape), dimension,
                       known->second.value + plus, because));
  }

  void read_element(const Operand& operand, std::string_view name, const Tensor& tensor) {
    const DType dtype = read_dtype(std::string(name), tensor);
    const auto [known, is_new] = said_.try_emplace(operand.element, Said{static_cast<int>(dtype), name});
    if (!is_new && known->second.value != static_cast<int>(dtype)) refuse_element(name, dtype, known->second);
  }

  [[noreturn]] void refuse_element(std::string_view tensor, DType dtype, const Said& other) const {
    const auto name = [](DType each) { return each == DType::bf16 ? "BF16" : "F16"; };
    refuse(fmt::format("tensor {} is {}, but {} is {}; they must be the same", tensor, name(dtype), other.tensor,
                       name(static_cast<DType>(other.value))));
  }

  Spec spec_of(const KernelDescription& kernel) const {
    std::vector<int> values;
    for (const Field& field : kernel.fields) {
      const auto said = said_.find(field.name);
      if (said == said_.end()) refuse(fmt::format("no tensor says the {} of {}", field.name, kernel.name));
      values.push_back(static_cast<int>(said->second.value));
    }
    const Spec spec(kind_, values);
    try {
      validate(spec);
    } catch (const Error& error) {
      // A field that is another's where it is not given must be that one's, if that helps.
      for (const Field& field : kernel.fields) {
        if (field.default_field.empty() || spec.get(field.name) == spec.get(field.default_field)) continue;
        refuse_element(said_.at(field.name).tensor, spec.dtype(field.name), said_.at(field.default_field));
      }
      refuse(fmt::format("the shapes of tensors {}: {}", fmt::join(tensors_, ", "), error.what()));
    }
    return spec;
  }

  const Safetensors& file_;
  const KernelKind& kind_;
  bool hnd_;
  std::map<std::string_view, Said> said_;  // of extents, and of fields that are element types
  std::vector<std::string_view> tensors_;
  std::set<std::string> names_;  // what the others point to
};

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

void check_sizes(const Safetensors& file, const Spec& spec, const std::string& kernel) {
  StatedSizes sizes;
  for (const Field& field : description(*spec.kind()).fields) sizes[field.name] = spec.get(field.name);
  check_stated_sizes(file, sizes, kernel);
}

}  // namespace

TensorFile read_tensor_file(const std::string& path) {
  TensorFile result{Safetensors::load(path), {}, {}, {}};
  const Safetensors& file = result.file;
  DecodeProblem& problem = result.problem;
  const std::string kernel = read_kernel(file);
  UnreadNames unread = unread_names(file, kernel);
  if (!unread.refused.empty()) unsupported(unread.refused.front());
  result.ignored = std::move(unread.ignored);
  const bool hnd = read_hnd(file);
  if (description(*find_kernel(kernel)).split == nullptr) {
    result.launch = SpecReader(file, kernel, hnd).read();
    check_sizes(file, result.launch->spec, kernel);
    inspect(*result.launch);
    return result;
  }
  problem.sm_scale = read_sm_scale(file);
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
  SpecReader(file, kernel, hnd).read(problem);
  const DecodeShape shape = shape_of(problem.spec);
  check_sizes(file, problem.spec, kernel);
  for (std::size_t part = 0; part < shape.pages.size(); ++part)
    problem.strides.push_back(hnd ? hnd_strides(shape, part) : nhd_strides(shape, part));
  check_table(problem, shape.page_size);
  return result;
}

std::vector<std::byte> batch_file(const DecodeProblem& problem) {
  const KernelDescription& kernel = description(*problem.spec.kind());
  std::map<std::string, Tensor> tensors;
  std::size_t query = 0, part = 0;
  for (const Operand& operand : kernel.operands) {
    const Use use = use_of(kernel, operand);
    if (use != Use::query && use != Use::pages) continue;
    std::vector<std::int64_t> shape;
    for (const std::string_view extent : operand.shape) {
      shape.push_back(extent == "batch"       ? problem.batch
                      : extent == "num_pages" ? problem.num_pages
                                              : problem.spec.get(extent));
    }
    tensors[std::string(operand.name)] = {problem.spec.dtype(operand.element) == DType::bf16 ? "BF16" : "F16",
                                          std::move(shape),
                                          use == Use::query ? problem.queries[query++] : problem.pages[part++]};
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
  std::map<std::string, Tensor> tensors{{"out", out}};
  if (shape.has_lse) tensors["lse"] = {"F32", {problem.batch, shape.heads}, std::as_bytes(std::span(result.lse))};
  return util::write_safetensors(tensors, {{"kernel", std::string(kernel_name(problem.spec))}});
}

}  // namespace librt::tool
