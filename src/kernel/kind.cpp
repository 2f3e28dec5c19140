#include "src/kernel/kind.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "src/util/text.hpp"

namespace librt {
namespace {

[[noreturn]] void refuse(const KernelDescription& kernel, const std::string& what) {
  throw Error(ErrorCode::invalid_argument, fmt::format("kernel {}: {}", kernel.name, what));
}

bool is_identifier(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto is_word = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
  return !text.empty() && is_letter(text[0]) && std::ranges::all_of(text, is_word);
}

template <class Named>
void require_names(const KernelDescription& kernel, std::string_view what, std::span<const Named> list,
                   std::size_t most) {
  if (list.size() > most) refuse(kernel, fmt::format("it has {} {}s; allowed: at most {}", list.size(), what, most));
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!is_identifier(list[i].name)) {
      refuse(kernel, fmt::format("{} {}: a name must be an identifier", what, util::in_quotes(list[i].name)));
    }
    if (std::ranges::find(list.first(i), list[i].name, &Named::name) != list.begin() + static_cast<std::ptrdiff_t>(i)) {
      refuse(kernel, fmt::format("{} {} is there twice", what, list[i].name));
    }
  }
}

/// Names that a key document or a shape has for something else.
constexpr std::array<std::string_view, 10> kReserved = {"kernel", "tile_tokens",   "stages",       "rows", "batch",
                                                        "f32",    "block_threads", "shared_bytes", "i32",  "num_pages"};

void check_field(const KernelDescription& kernel, const Field& field, std::span<const Field> earlier) {
  const auto refuse_it = [&](const std::string& what) { refuse(kernel, fmt::format("field {} {}", field.name, what)); };
  if (std::ranges::find(kReserved, field.name) != kReserved.end()) {
    refuse_it(fmt::format("has a name that is taken; taken: {}", fmt::join(kReserved, ", ")));
  }
  if (!field.dtypes.empty() && !field.values.empty()) refuse_it("has dtypes and values; allowed: one of them");
  for (const DType dtype : field.dtypes) {
    if (to_string(dtype) == "unknown")
      refuse_it(fmt::format("allows DType {}, which is none", static_cast<int>(dtype)));
  }
  if (field.dtypes.empty() && field.values.empty() && field.low > field.high) {
    refuse_it(fmt::format("allows nothing: {}..{}", field.low, field.high));
  }
  if (field.default_value && !allows(field, *field.default_value)) {
    refuse_it(fmt::format("does not allow its default_value {}", *field.default_value));
  }
  if (!field.default_field.empty() && std::ranges::find(earlier, field.default_field, &Field::name) == earlier.end()) {
    refuse_it(fmt::format("has the default_field {}, which is no earlier field", field.default_field));
  }
}

void check_sources(const KernelDescription& kernel) {
  const std::string folder = fmt::format("{}/", kernel.name);
  bool has_header = kernel.sources.empty();
  for (std::size_t i = 0; i < kernel.sources.size(); ++i) {
    const std::string_view name = kernel.sources[i].name;
    const auto refuse_it = [&](std::string_view what) {
      refuse(kernel, fmt::format("source {} {}", util::in_quotes(name), what));
    };
    if (!name.starts_with(folder)) refuse_it(fmt::format("does not lie in {}", folder));
    const bool is_plain = std::ranges::all_of(name, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '/' ||
             c == '.';
    });
    if (!is_plain || name.find("..") != std::string_view::npos || name.find("//") != std::string_view::npos ||
        !(name.ends_with(".cuh") || name.ends_with(".h"))) {
      refuse_it("is not the name of a source; allowed: letters, digits, _ and /, ending in .cuh or .h");
    }
    if (std::ranges::find(kernel.sources.first(i), name, &KernelSource::name) !=
        kernel.sources.begin() + static_cast<std::ptrdiff_t>(i)) {
      refuse_it("is there twice");
    }
    has_header = has_header || name == fmt::format("{}{}.cuh", folder, kernel.name);
  }
  if (!has_header) refuse(kernel, fmt::format("among its sources is no {}{}.cuh", folder, kernel.name));
}

/// What an operand is, without its shape.
void check_operand(const KernelDescription& kernel, const Operand& operand) {
  const auto require = [&](bool is_right, std::string_view what) {
    if (!is_right) refuse(kernel, fmt::format("operand {}: {}", operand.name, what));
  };
  const bool is_read = operand.access == Access::read;
  const bool is_paged = operand.form == Form::paged;
  require(is_read || operand.access == Access::write || operand.access == Access::update,
          "access is none of the enum's");
  require(operand.access != Access::update || (is_paged && !operand.optional), "pages alone are updated");
  require(static_cast<unsigned>(operand.meaning) <= static_cast<unsigned>(Meaning::kv_last_page_len),
          "meaning is none of the enum's");
  switch (operand.form) {
    case Form::rows:
      require(is_read && operand.meaning == Meaning::none && !operand.optional,
              "rows are read, not optional, and have no meaning");
      return;
    case Form::dense:
    case Form::paged:
      require(operand.meaning == Meaning::none ||
                  (operand.form == Form::dense && is_read && operand.element == "i32" && !operand.optional),
              "a page table is dense, read, i32 and not optional");
      return;
    case Form::scalar:
    case Form::count:
      require(is_read && operand.meaning == Meaning::none && !operand.optional,
              "a number is read, not optional, and has no meaning");
      return;
    case Form::workspace:
      require(!is_read && operand.meaning == Meaning::none && !operand.optional,
              "a workspace is written, not optional, and has no meaning");
      return;
  }
  require(false, "form is none of the enum's");
}

/// A plan needs the page table and the workspace, each once.
void check_for_plan(const KernelDescription& kernel) {
  if (kernel.internal) return;
  const auto workspaces = std::ranges::count(kernel.operands, Form::workspace, &Operand::form);
  if (kernel.split == nullptr) {
    if (workspaces != 0 || kernel.merge != nullptr) refuse(kernel, "it has a workspace or a merge, but lacks split");
    return;
  }
  if (kernel.inspect != nullptr) refuse(kernel, "it has inspect, which is for kernels that take no plan");
  for (const auto& [meaning, name] : {std::pair(Meaning::kv_indptr, "kv_indptr"),
                                      {Meaning::kv_indices, "kv_indices"},
                                      {Meaning::kv_last_page_len, "kv_last_page_len"}}) {
    const auto count = std::ranges::count(kernel.operands, meaning, &Operand::meaning);
    if (count != 1) refuse(kernel, fmt::format("{} operands have the meaning {}; allowed: 1", count, name));
  }
  if (workspaces != 1) refuse(kernel, fmt::format("{} operands are a workspace; allowed: 1", workspaces));
}

}  // namespace

bool allows(const Field& field, int value) {
  if (!field.dtypes.empty()) return std::ranges::find(field.dtypes, static_cast<DType>(value)) != field.dtypes.end();
  if (!field.values.empty()) return std::ranges::find(field.values, value) != field.values.end();
  return value >= field.low && value <= field.high;
}

KernelKind::KernelKind(const KernelDescription& described) : description_(described) {
  const KernelDescription& kernel = description_;
  if (!is_identifier(kernel.name)) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("kernel {}: a name must be an identifier", util::in_quotes(kernel.name)));
  }
  if (kernel.name == "device") refuse(kernel, "the name is taken; allowed: another name");
  require_names(kernel, "field", kernel.fields, Spec::kMostFields);
  for (std::size_t i = 0; i < kernel.fields.size(); ++i) check_field(kernel, kernel.fields[i], kernel.fields.first(i));
  require_names(kernel, "operand", kernel.operands, LaunchArguments::kMostOperands);
  if (kernel.specialize == nullptr || kernel.fill == nullptr) refuse(kernel, "it lacks specialize or fill");
  check_sources(kernel);
  check_for_plan(kernel);
  for (std::size_t i = 0; i < kernel.operands.size(); ++i) {
    check_operand(kernel, kernel.operands[i]);
    resolve_operand(i);
    if (kernel.operands[i].form == Form::workspace) workspace_ = i;
  }
  for (const auto& [form, what] : {std::pair(Form::paged, "paged"), {Form::rows, "rows"}}) {
    const auto count = std::ranges::count(kernel.operands, form, &Operand::form);
    if (count <= static_cast<std::ptrdiff_t>(kMostPaged)) continue;
    refuse(kernel, fmt::format("{} operands are {}; allowed: at most {}", count, what, kMostPaged));
  }
}

void KernelKind::resolve_operand(std::size_t index) {
  const Operand& operand = description_.operands[index];
  ResolvedOperand& resolved = operands_[index];
  if (operand.form == Form::scalar || operand.form == Form::count || operand.form == Form::workspace) return;
  const auto refuse_it = [&](const std::string& what) {
    refuse(description_, fmt::format("operand {}: {}", operand.name, what));
  };
  if (operand.element != "f32" && operand.element != "i32") {
    resolved.dtype_field = field(operand.element);
    if (!resolved.dtype_field || description_.fields[*resolved.dtype_field].dtypes.empty()) {
      refuse_it(fmt::format("element {} is not known; allowed: f32, i32, a field with dtypes",
                            util::in_quotes(operand.element)));
    }
  }
  const std::size_t extents = operand.shape.size();
  const bool is_paged = operand.form == Form::paged, is_rows = operand.form == Form::rows;
  if (extents > kMostExtents || (is_paged && extents != 3 && extents != 4) ||
      (is_rows && extents != 2 && extents != 3)) {
    refuse_it(fmt::format("it has {} extents; allowed: {}", extents,
                          is_paged  ? "3 or 4"
                          : is_rows ? "2 or 3"
                                    : "at most 6"));
  }
  if ((is_paged || is_rows) && !resolved.dtype_field) {
    refuse_it(fmt::format("{} have elements of a field with dtypes", is_paged ? "pages" : "rows"));
  }
  for (std::size_t n = 0; n < extents; ++n) {
    resolved.extents[n] = resolve(operand.shape[n], operand.name);
    const bool is_right =
        n == 0 ? resolved.extents[n].of == Extent::Of::num_pages : resolved.extents[n].of == Extent::Of::field;
    if (is_paged && !is_right) refuse_it("pages have the shape num_pages, then fields");
    if (is_rows && n > 0 && resolved.extents[n].of != Extent::Of::field) refuse_it("rows consist of fields");
  }
}

std::int64_t KernelKind::Extent::value(const Spec& spec, const Sizes& sizes) const {
  switch (of) {
    case Of::field:
      return spec.at(index) + plus;
    case Of::count:
      return sizes.counts[index] + plus;
    case Of::batch:
      return sizes.batch + plus;
    case Of::num_pages:
      break;
  }
  return sizes.num_pages + plus;
}

KernelKind::Extent KernelKind::resolve(std::string_view extent, std::string_view operand_name) const {
  if (extent == "num_pages") return {.of = Extent::Of::num_pages};
  constexpr std::string_view kAndOne = " + 1";
  const int plus = extent.ends_with(kAndOne) ? 1 : 0;
  const std::string_view counted = plus == 0 ? extent : extent.substr(0, extent.size() - kAndOne.size());
  if (counted == "batch" && (takes_plan() || description_.internal)) return {.of = Extent::Of::batch, .plus = plus};
  if (const auto index = operand(counted); index && description_.operands[*index].form == Form::count) {
    return {.of = Extent::Of::count, .index = *index, .plus = plus};
  }
  if (const auto index = field(extent)) {
    const Field& described = description_.fields[*index];
    const bool is_size = described.dtypes.empty() &&
                         (described.values.empty() ? described.low >= 1 : std::ranges::min(described.values) >= 1);
    if (!is_size) refuse(description_, fmt::format("operand {}: extent {} may be 0 or less", operand_name, extent));
    return {.of = Extent::Of::field, .index = *index};
  }
  refuse(description_,
         fmt::format("operand {}: extent {} is not known; allowed: {}num_pages, a field, a count, a count + 1",
                     operand_name, extent, takes_plan() ? "batch, batch + 1, " : ""));
}

std::optional<std::size_t> KernelKind::field(std::string_view name) const noexcept {
  const auto found = std::ranges::find(description_.fields, name, &Field::name);
  if (found == description_.fields.end()) return std::nullopt;
  return static_cast<std::size_t>(found - description_.fields.begin());
}

std::optional<std::size_t> KernelKind::operand(std::string_view name) const noexcept {
  const auto found = std::ranges::find(description_.operands, name, &Operand::name);
  if (found == description_.operands.end()) return std::nullopt;
  return static_cast<std::size_t>(found - description_.operands.begin());
}

std::optional<std::size_t> KernelKind::operand(Meaning meaning) const noexcept {
  const auto found = std::ranges::find(description_.operands, meaning, &Operand::meaning);
  if (found == description_.operands.end()) return std::nullopt;
  return static_cast<std::size_t>(found - description_.operands.begin());
}

std::size_t KernelKind::element_bytes(std::size_t operand, const Spec& spec) const {
  const auto& dtype = operands_[operand].dtype_field;
  return dtype ? size_in_bytes(static_cast<DType>(spec.at(*dtype))) : 4;
}

}  // namespace librt
