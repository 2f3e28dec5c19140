#include "src/kernel/kind.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

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
      refuse(kernel, fmt::format("{} \"{}\": a name must be an identifier", what, list[i].name));
    }
    if (std::ranges::find(list.first(i), list[i].name, &Named::name) != list.begin() + static_cast<std::ptrdiff_t>(i)) {
      refuse(kernel, fmt::format("{} {} is there twice", what, list[i].name));
    }
  }
}

void check_fields(const KernelDescription& kernel) {
  require_names(kernel, "field", kernel.fields, Spec::kMostFields);
  for (std::size_t i = 0; i < kernel.fields.size(); ++i) {
    const Field& field = kernel.fields[i];
    if (field.dtypes.empty() && field.values.empty() && field.low > field.high) {
      refuse(kernel, fmt::format("field {} allows nothing: {}..{}", field.name, field.low, field.high));
    }
    const auto earlier = kernel.fields.first(i);
    if (!field.default_field.empty() &&
        std::ranges::find(earlier, field.default_field, &Field::name) == earlier.end()) {
      refuse(kernel, fmt::format("field {}: default_field {} is no earlier field", field.name, field.default_field));
    }
  }
}

}  // namespace

KernelKind::KernelKind(const KernelDescription& described) : description_(described) {
  const KernelDescription& kernel = description_;
  if (!is_identifier(kernel.name)) {
    throw Error(ErrorCode::invalid_argument, fmt::format("kernel \"{}\": a name must be an identifier", kernel.name));
  }
  if (kernel.name == "device") refuse(kernel, "the name is taken; allowed: another name");
  check_fields(kernel);
  require_names(kernel, "operand", kernel.operands, LaunchArguments::kMostOperands);
  if (kernel.specialize == nullptr || kernel.fill == nullptr) refuse(kernel, "it lacks specialize or fill");
  if (kernel.split == nullptr && !kernel.internal) refuse(kernel, "it lacks split");
  for (const auto& [meaning, name] : {std::pair(Meaning::kv_indptr, "kv_indptr"),
                                      {Meaning::kv_indices, "kv_indices"},
                                      {Meaning::kv_last_page_len, "kv_last_page_len"}}) {
    if (!kernel.internal && !operand(meaning)) refuse(kernel, fmt::format("no operand has the meaning {}", name));
  }
  if (!kernel.internal &&
      std::ranges::find(kernel.operands, Form::workspace, &Operand::form) == kernel.operands.end()) {
    refuse(kernel, "no operand is the workspace");
  }
  for (const KernelSource& source : kernel.sources) {
    if (!source.name.starts_with(fmt::format("{}/", kernel.name))) {
      refuse(kernel, fmt::format("source {} does not lie in {}/", source.name, kernel.name));
    }
  }
  for (std::size_t i = 0; i < kernel.operands.size(); ++i) {
    const Operand& operand = kernel.operands[i];
    ResolvedOperand& resolved = operands_[i];
    if (operand.form == Form::scalar || operand.form == Form::workspace) continue;
    if (operand.element != "f32" && operand.element != "i32") {
      resolved.dtype_field = field(operand.element);
      if (!resolved.dtype_field || kernel.fields[*resolved.dtype_field].dtypes.empty()) {
        refuse(kernel, fmt::format("operand {}: element \"{}\" is not known; allowed: f32, i32, a field with dtypes",
                                   operand.name, operand.element));
      }
    }
    const std::size_t extents = operand.shape.size();
    if (extents > kMostExtents || (operand.form == Form::paged && extents != 3 && extents != 4)) {
      refuse(kernel, fmt::format("operand {} has {} extents; allowed: {}", operand.name, extents,
                                 operand.form == Form::paged ? "3 or 4" : "at most 6"));
    }
    for (std::size_t n = 0; n < extents; ++n) resolved.extents[n] = resolve(operand.shape[n], operand.name);
  }
}

KernelKind::Extent KernelKind::resolve(std::string_view extent, std::string_view operand_name) const {
  if (extent == "batch") return {.of = Extent::Of::batch};
  if (extent == "batch + 1") return {.of = Extent::Of::batch, .plus = 1};
  if (extent == "num_pages") return {.of = Extent::Of::num_pages};
  if (const auto index = field(extent)) return {.of = Extent::Of::field, .field = *index};
  refuse(description_,
         fmt::format("operand {}: extent \"{}\" is not known; allowed: batch, batch + 1, num_pages, a field",
                     operand_name, extent));
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
