#include "tools/librt/cache_dump.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <utility>

#include "tools/librt/decode.hpp"
#include "tools/librt/metadata.hpp"
#include "tools/librt/unread_names.hpp"

namespace librt::tool {
namespace {

using util::Safetensors;
using util::Tensor;

constexpr const char* kUnsupported = "unsupported";
constexpr std::int64_t kRowAlignment = 16;  // bytes in the copies of the kernels

std::string in_words(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

class Reader {
 public:
  Reader(const Safetensors& file, Findings& findings)
      : file_(file), problems_(findings.problems), notes_(findings.notes) {}

  CacheDump read() {
    read_metadata();
    dump_.kv_indptr = integers("kv_indptr");
    dump_.kv_indices = integers("kv_indices");
    dump_.kv_last_page_len = integers("kv_last_page_len");
    if (file_.find("qo_indptr") != nullptr) dump_.qo_indptr = integers("qo_indptr");
    if (const KernelKind* const kind = find_kernel(dump_.kernel)) {
      for (const Operand& operand : description(*kind).operands) {
        const Use use = use_of(description(*kind), operand);
        num_expected_ += use == Use::query || use == Use::pages ? 1 : 0;
        if (use == Use::query) add_query(operand);
        if (use == Use::pages) add_pages(operand);
      }
      check_heads();
    }
    check_dims();
    check_sizes();
    check_place_in_file();
    return std::move(dump_);
  }

 private:
  /// Runs a reader of `librt run`. What it does not support is a problem too: what the cache means is not known then.
  template <class Read>
  void collect(const std::string& kind, Read&& read) {
    try {
      read();
    } catch (const Error& error) {
      problems_.add(error.code() == ErrorCode::unsupported ? kUnsupported : kind, error.what());
    }
  }

  void read_metadata() {
    collect("metadata", [&] { dump_.kernel = read_kernel(file_); });
    if (dump_.kernel.empty()) {
      for (const KernelKind* const kind : kernel_kinds()) {
        const auto& operands = description(*kind).operands;
        const auto pages = std::ranges::find(operands, Form::paged, &Operand::form);
        if (description(*kind).split != nullptr && pages != operands.end() && file_.find(pages->name) != nullptr)
          dump_.kernel = description(*kind).name;
      }
      notes_.add("not_checked", dump_.kernel.empty()
                                    ? "queries and pages: without the kernel's name they are not known"
                                    : fmt::format("the kernel is taken for {}, from the tensors' names", dump_.kernel));
    }
    collect("metadata", [&] { read_sm_scale(file_); });
    for (const auto& check : kMetadataChecks) collect("metadata", [&] { check(file_); });
    collect("metadata", [&] { dump_.hnd = read_hnd(file_); });
    const UnreadNames unread = unread_names(file_, dump_.kernel);
    for (const std::string& each : unread.refused) problems_.add(kUnsupported, each);
    for (const std::string& each : unread.ignored) notes_.add("ignored", each);
  }

  void type_problem(const std::string& name, const Tensor& tensor, const std::string& what) {
    problems_.add("type", fmt::format("tensor {} is {}; {}", name, tensor.dtype, what),
                  {{"tensor", name}, {"value", tensor.dtype}});
  }

  void shape_problem(const std::string& name, const Tensor& tensor, const std::string& what) {
    problems_.add("shape", fmt::format("tensor {} has shape {}; {}", name, in_words(tensor.shape), what),
                  {{"tensor", name}, {"value", tensor.shape}});
  }

  const Tensor* tensor_of_rank(const std::string& name, std::size_t rank) {
    const Tensor* const tensor = file_.find(name);
    if (tensor == nullptr) {
      problems_.add("missing", missing_tensor(file_, name), {{"tensor", name}});
      return nullptr;
    }
    if (tensor->shape.size() != rank) {
      shape_problem(name, *tensor, fmt::format("it must have {} dimensions", rank));
      return nullptr;
    }
    constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
    if (std::any_of(tensor->shape.begin(), tensor->shape.end(), [](std::int64_t extent) { return extent > kMaxInt; })) {
      shape_problem(name, *tensor, fmt::format("no dimension may be above {}", kMaxInt));
      return nullptr;
    }
    return tensor;
  }

  template <class T>
  static std::vector<std::int64_t> widened(const Tensor& tensor) {
    std::vector<std::int64_t> values(tensor.bytes.size() / sizeof(T));
    for (std::size_t i = 0; i < values.size(); ++i) {
      T value;
      std::memcpy(&value, tensor.bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = static_cast<std::int64_t>(value);
    }
    return values;
  }

  /// Another integer type is a problem, but its values still show what else is wrong.
  std::optional<std::vector<std::int64_t>> integers(const std::string& name) {
    const Tensor* const tensor = tensor_of_rank(name, 1);
    if (tensor == nullptr) return {};
    const std::string& type = tensor->dtype;
    if (type == "I32") return widened<std::int32_t>(*tensor);
    const bool is_64_bit = type == "I64" || type == "U64";
    type_problem(name, *tensor,
                 is_64_bit ? "it must be I32 (read as I32, every second of its numbers would be 0)" : "it must be I32");
    if (is_64_bit) return widened<std::int64_t>(*tensor);
    if (type == "U32") return widened<std::uint32_t>(*tensor);
    if (type == "I16") return widened<std::int16_t>(*tensor);
    if (type == "U16") return widened<std::uint16_t>(*tensor);
    if (type == "I8") return widened<std::int8_t>(*tensor);
    if (type == "U8") return widened<std::uint8_t>(*tensor);
    return {};
  }

  std::optional<ElementFormat> format_of(const std::string& name, const Tensor& tensor, bool may_be_8_bits) {
    static constexpr std::array<ElementFormat, 3> kFormats = {
        {{"BF16", 2, 0x7f80, 0x007f}, {"F16", 2, 0x7c00, 0x03ff}, {"F8_E4M3", 1, 0x7f, 0}}};
    for (const ElementFormat& format : kFormats) {
      if (format.name != tensor.dtype || (format.bytes == 1 && !may_be_8_bits)) continue;
      if (format.bytes == 1) {
        notes_.add("unsupported", fmt::format("tensor {} is {}, which is checked but which the kernels do not read: "
                                              "BF16 and F16 are",
                                              name, tensor.dtype));
      }
      return format;
    }
    type_problem(name, tensor, may_be_8_bits ? "allowed: BF16, F16, F8_E4M3" : "allowed: BF16, F16");
    return {};
  }

  void add_query(const Operand& operand) {
    const std::string name(operand.name);
    const Tensor* const tensor = tensor_of_rank(name, 3);
    if (tensor == nullptr) return;
    const auto format = format_of(name, *tensor, false);
    if (tensor->shape[1] == 0 || tensor->shape[2] == 0) {
      shape_problem(name, *tensor, "heads and elements must be at least 1");
      return;
    }
    if (!format) return;
    check_type_agrees(name, *tensor, dump_.queries);
    if (!dump_.queries.empty()) {
      const DumpTensor& first = dump_.queries.front();
      if (first.rows != tensor->shape[0] || first.heads != tensor->shape[1]) {
        shape_problem(
            name, *tensor,
            fmt::format("its first dimensions must be {} and {}, as those of {}", first.rows, first.heads, first.name));
      }
    }
    dump_.sizes[operand.shape[1]] = tensor->shape[1];
    dump_.sizes[operand.shape[2]] = tensor->shape[2];
    dump_.queries.push_back(
        {name, operand.shape[2], tensor->bytes, *format, tensor->shape[0], tensor->shape[1], tensor->shape[2]});
    check_row(dump_.queries.back());
  }

  void add_pages(const Operand& operand) {
    const std::string name(operand.name);
    const bool has_heads = operand.shape.size() == 4;  // without, both layouts are the same
    const Tensor* const tensor = tensor_of_rank(name, operand.shape.size());
    if (tensor == nullptr) return;
    const auto format = format_of(name, *tensor, true);
    const auto& shape = tensor->shape;
    if (std::find(shape.begin() + 1, shape.end(), 0) != shape.end()) {
      shape_problem(name, *tensor, "only the number of pages may be 0");
      return;
    }
    const std::int64_t page_size = shape[has_heads && dump_.hnd ? 2 : 1];
    const std::int64_t kv_heads = has_heads ? shape[dump_.hnd ? 1 : 2] : 1;
    const bool is_first = dump_.page_size == 0;
    if (is_first) {
      dump_.num_pages = shape[0];
      dump_.page_size = page_size;
      dump_.kv_heads = kv_heads;
    } else if (shape[0] != dump_.num_pages || page_size != dump_.page_size || kv_heads != dump_.kv_heads) {
      shape_problem(name, *tensor,
                    fmt::format("it must have {} pages of {} tokens with {} heads, as the other page tensor",
                                dump_.num_pages, dump_.page_size, dump_.kv_heads));
      return;
    }
    if (!format) return;
    check_type_agrees(name, *tensor, dump_.pages);
    dump_.sizes[operand.shape[1]] = page_size;
    if (has_heads) dump_.sizes[operand.shape[2]] = kv_heads;
    // Where a query has that dimension too, its own counts.
    dump_.sizes.try_emplace(operand.shape.back(), shape.back());
    dump_.pages.push_back({name, operand.shape.back(), tensor->bytes, *format, 0, 0, shape.back()});
    check_row(dump_.pages.back());
  }

  void check_type_agrees(const std::string& name, const Tensor& tensor, const std::vector<DumpTensor>& others) {
    if (others.empty() || others.front().format.name == tensor.dtype) return;
    type_problem(name, tensor,
                 fmt::format("{} is {}, and they must be the same", others.front().name, others.front().format.name));
  }

  void check_row(const DumpTensor& tensor) {
    const std::int64_t bytes = tensor.dim * static_cast<std::int64_t>(tensor.format.bytes);
    if (bytes % kRowAlignment == 0) return;
    problems_.add("alignment",
                  fmt::format("tensor {}: a row of {} elements has {} bytes, which is not a multiple of {}, so that "
                              "the next one is misaligned",
                              tensor.name, tensor.dim, bytes, kRowAlignment),
                  {{"tensor", tensor.name}, {"value", bytes}});
  }

  /// A page row meets the query row of the same place among the tensors.
  void check_dims() {
    for (const DumpTensor& pages : dump_.pages) {
      const auto query = std::ranges::find(dump_.queries, pages.field, &DumpTensor::field);
      if (query == dump_.queries.end()) continue;
      if (query->dim != pages.dim) {
        shape_problem(pages.name, *file_.find(pages.name),
                      fmt::format("its last dimension must be {}, as that of {}", query->dim, query->name));
      }
      // The other page tensor has been compared with the first.
      const bool is_first = &pages == &dump_.pages.front();
      if (is_first && pages.format.bytes == 2 && pages.format.name != query->format.name) {
        type_problem(pages.name, *file_.find(pages.name),
                     fmt::format("{} is {}, and they must be the same", query->name, query->format.name));
      }
    }
  }

  void check_sizes() {
    if (dump_.pages.size() + dump_.queries.size() != num_expected_) return;
    collect("metadata", [&] { check_stated_sizes(file_, dump_.sizes, dump_.kernel); });
  }

  void check_heads() {
    if (dump_.queries.empty() || dump_.kv_heads == 0) return;
    if (dump_.queries[0].heads % dump_.kv_heads == 0) return;
    problems_.add("shape",
                  fmt::format("tensor {} has {} heads, which is not a multiple of the {} heads of the pages; is the "
                              "kv_layout {} right?",
                              dump_.queries[0].name, dump_.queries[0].heads, dump_.kv_heads, dump_.hnd ? "HND" : "NHD"),
                  {{"tensor", dump_.queries[0].name}, {"value", dump_.queries[0].heads}});
  }

  /// The file is read to an address that new aligned, so that the address of a tensor shows its place in the file.
  void check_place_in_file() {
    static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= kRowAlignment);
    std::vector<std::string> misaligned;
    for (const auto* const tensors : {&dump_.queries, &dump_.pages}) {
      for (const DumpTensor& tensor : *tensors) {
        const auto off = reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) % kRowAlignment;
        if (!tensor.bytes.empty() && off != 0) misaligned.push_back(fmt::format("{} ({} bytes off)", tensor.name, off));
      }
    }
    if (misaligned.empty()) return;
    notes_.add("alignment", fmt::format("in the file these tensors do not begin at a multiple of {} bytes: {}; "
                                        "harmless where the file is copied, as `librt run` does, but not where it is "
                                        "mapped and used in place",
                                        kRowAlignment, fmt::join(misaligned, ", ")));
  }

  std::size_t num_expected_ = 0;  // query and page tensors
  const Safetensors& file_;
  FindingList& problems_;
  FindingList& notes_;
  CacheDump dump_;
};

}  // namespace

CacheDump read_cache_dump(const util::Safetensors& file, Findings& findings) {
  return Reader(file, findings).read();
}

}  // namespace librt::tool
