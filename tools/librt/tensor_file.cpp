#include "tools/librt/tensor_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "src/util/refuse.hpp"
#include "tools/librt/cache_dump.hpp"
#include "tools/librt/metadata.hpp"
#include "tools/librt/page_owners.hpp"
#include "tools/librt/unread_names.hpp"

namespace librt::tool {
namespace {

using util::Safetensors;
using util::Tensor;

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();

using util::refuse;

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

// --- a batch for a plan ---

/// What `librt check` would report first, and what it notes that no kernel reads.
void refuse_findings(const Findings& findings) {
  constexpr std::string_view kUnsupported = "unsupported";
  for (const auto* const list : {&findings.problems, &findings.notes}) {
    for (const FindingList::Finding& finding : list->listed()) {
      if (finding.kind == kUnsupported) unsupported(finding.what);
      if (list == &findings.problems) refuse(finding.what);
    }
  }
}

Spec spec_of(const KernelKind& kind, const CacheDump& dump) {
  const KernelDescription& kernel = description(kind);
  const auto dtype_of = [&](std::string_view field) {
    for (const Operand& operand : kernel.operands) {
      if (operand.element != field) continue;
      for (const auto* const tensors : {&dump.queries, &dump.pages}) {
        const auto found = std::ranges::find(*tensors, operand.name, &DumpTensor::name);
        if (found != tensors->end()) return found->format.name == "BF16" ? DType::bf16 : DType::f16;
      }
    }
    refuse(fmt::format("no tensor says the {} of {}", field, kernel.name));
  };
  std::vector<int> values;
  for (const Field& field : kernel.fields) {
    values.push_back(static_cast<int>(field.dtypes.empty() ? dump.sizes.at(field.name)
                                                           : static_cast<std::int64_t>(dtype_of(field.name))));
  }
  const Spec spec(kind, values);
  try {
    validate(spec);
  } catch (const Error& error) {
    std::vector<std::string_view> names;
    for (const auto* const tensors : {&dump.queries, &dump.pages}) {
      for (const DumpTensor& tensor : *tensors) names.push_back(tensor.name);
    }
    refuse(fmt::format("the shapes of tensors {}: {}", fmt::join(names, ", "), error.what()));
  }
  return spec;
}

DecodeProblem problem_of(const KernelKind& kind, const CacheDump& dump) {
  DecodeProblem problem{.spec = spec_of(kind, dump), .num_pages = dump.num_pages};
  const auto narrowed = [](const std::vector<std::int64_t>& values) {
    return std::vector<std::int32_t>(values.begin(), values.end());
  };
  problem.kv_indptr = narrowed(*dump.kv_indptr);
  problem.kv_indices = narrowed(*dump.kv_indices);
  problem.kv_last_page_len = narrowed(*dump.kv_last_page_len);
  problem.batch = static_cast<int>(problem.kv_indptr.size()) - 1;
  const DecodeShape shape = shape_of(problem.spec);
  for (const DumpTensor& query : dump.queries) problem.queries.push_back(query.bytes);
  for (std::size_t part = 0; part < dump.pages.size(); ++part) {
    problem.pages.push_back(dump.pages[part].bytes);
    problem.strides.push_back(dump.hnd ? hnd_strides(shape, part) : nhd_strides(shape, part));
  }
  return problem;
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
  const auto kernel = metadata(file, "kernel");
  const KernelKind* const kind = kernel ? find_kernel(*kernel) : nullptr;
  if (kind != nullptr && !description(*kind).internal && description(*kind).split == nullptr) {
    UnreadNames unread = unread_names(file, *kernel);
    if (!unread.refused.empty()) unsupported(unread.refused.front());
    result.ignored = std::move(unread.ignored);
    result.launch = SpecReader(file, *kernel, read_hnd(file)).read();
    check_sizes(file, result.launch->spec, *kernel);
    inspect(*result.launch);
    return result;
  }
  static_cast<void>(read_kernel(file));  // its name must be there
  Findings findings;
  const CacheDump dump = read_cache_dump(file, findings);
  const PageOwners owners(dump, findings);
  refuse_findings(findings);
  for (const FindingList::Finding& note : findings.notes.listed()) {
    if (note.kind == "ignored") result.ignored.push_back(note.what);
  }
  result.problem = problem_of(*kind, dump);
  result.problem.sm_scale = read_sm_scale(file);
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
