// Specs as values: made, checked, printed and read by the fields of their kernel.
#include <librt/error.hpp>
#include <librt/spec.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "src/kernel/kind.hpp"
#include "src/kernel/registry.hpp"
#include "src/kernel/spec_words.hpp"
#include "src/util/refuse.hpp"
#include "src/util/text.hpp"

namespace librt {
namespace {

using util::refuse;

const KernelDescription& description_of(const Spec& spec) {
  if (spec.kind() == nullptr) {
    refuse(fmt::format("the spec is of no kernel; allowed: {}", fmt::join(kernel::names(), ", ")));
  }
  return spec.kind()->description();
}

/// The values that a field may have, in words.
std::string allowed(const Field& field) {
  if (!field.dtypes.empty()) {
    std::vector<std::string_view> names;
    for (const DType each : field.dtypes) names.push_back(to_string(each));
    return fmt::format("{}", fmt::join(names, ", "));
  }
  if (!field.values.empty()) return fmt::format("{}", fmt::join(field.values, ", "));
  return fmt::format("{}..{}", field.low, field.high);
}

std::string shown_value(const Field& field, int value) {
  if (field.dtypes.empty() || !allows(field, value)) return std::to_string(value);
  return std::string(to_string(static_cast<DType>(value)));
}

int read_value(std::string_view kernel, const Field& field, const std::string& text) {
  const auto fail = [&](std::string_view what) {
    refuse(
        fmt::format("{}: {}={} is not {}; allowed: {}", kernel, field.name, util::shown(text), what, allowed(field)));
  };
  if (!field.dtypes.empty()) {
    const auto found = std::ranges::find(field.dtypes, text, [](DType each) { return to_string(each); });
    if (found == field.dtypes.end()) fail("supported");
    return static_cast<int>(*found);
  }
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) fail("supported");
  if (error != std::errc{} || end != text.data() + text.size()) fail("an integer");
  return value;
}

}  // namespace

Spec::Spec(const KernelKind& kind, std::span<const int> values)
    : kind_(&kind), count_(kind.description().fields.size()) {
  if (values.size() != count_) {
    refuse(fmt::format("{}: {} values were given; allowed: {}, one for each field", kernel(), values.size(), count_));
  }
  std::ranges::copy(values, values_.begin());
}

std::string_view Spec::kernel() const noexcept {
  return kind_ == nullptr ? std::string_view{} : kind_->description().name;
}

int Spec::get(std::string_view field) const {
  const KernelDescription& kernel = description_of(*this);
  const auto index = kind_->field(field);
  if (!index) refuse(fmt::format("{}: {} is not a member of the spec", kernel.name, util::shown(field)));
  return values_[*index];
}

Spec Spec::with(std::string_view field, int value) const {
  static_cast<void>(get(field));
  Spec other = *this;
  other.values_[*kind_->field(field)] = value;
  return other;
}

std::size_t Spec::hash() const noexcept {
  std::uint64_t state = reinterpret_cast<std::uintptr_t>(kind_);
  for (std::size_t i = 0; i < count_; ++i) {
    state = (state ^ static_cast<std::uint32_t>(values_[i])) * 0x9e3779b97f4a7c15u + (state >> 29);
  }
  return static_cast<std::size_t>(state);
}

void refuse_field(const Spec& spec, std::string_view field, std::string_view what, std::string_view with) {
  const int value = spec.get(field);  // throws for what is no field
  const Field& described = description_of(spec).fields[*spec.kind()->field(field)];
  refuse(fmt::format("{}: {}={} is not supported{}{}; allowed: {}", spec.kernel(), field, shown_value(described, value),
                     with.empty() ? "" : " ", with, what));
}

void validate(const Spec& spec) {
  const KernelDescription& kernel = description_of(spec);
  for (std::size_t i = 0; i < kernel.fields.size(); ++i) {
    const Field& field = kernel.fields[i];
    if (!allows(field, spec.at(i))) refuse_field(spec, field.name, allowed(field));
  }
  if (kernel.validate != nullptr) kernel.validate(spec);
}

std::string_view kernel_name(const Spec& spec) noexcept {
  return spec.kernel();
}

std::string to_string(const Spec& spec) {
  if (spec.kind() == nullptr) return "no kernel";
  std::string text(spec.kernel());
  const auto fields = spec.kind()->description().fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    text += fmt::format(" {}={}", fields[i].name, shown_value(fields[i], spec.at(i)));
  }
  return text;
}

Spec parse_spec(std::string_view text) {
  const std::vector<std::string> words = kernel::split_words(text);
  if (words.empty()) {
    refuse(fmt::format("the spec is empty; allowed: {}, then key=value ...", fmt::join(kernel::names(), " or ")));
  }
  std::vector<kernel::Assignment> assignments;
  const KernelKind& kind = kernel::require(words[0]);
  for (std::size_t i = 1; i < words.size(); ++i) {
    kernel::Assignment one = kernel::split_assignment(kind, words[i]);
    if (std::ranges::find(assignments, one.field, &kernel::Assignment::field) != assignments.end()) {
      refuse(fmt::format("{}: {} is given twice", words[0], kind.description().fields[one.field].name));
    }
    assignments.push_back(std::move(one));
  }
  return kernel::spec_of(kind, assignments);
}

Spec kernel::spec_of(const KernelKind& kind, std::span<const Assignment> assignments) {
  const KernelDescription& described = kind.description();
  std::array<int, Spec::kMostFields> values{};
  for (std::size_t i = 0; i < described.fields.size(); ++i) {
    const Field& field = described.fields[i];
    const auto given = std::ranges::find(assignments, i, &Assignment::field);
    if (given != assignments.end()) {
      values[i] = read_value(described.name, field, given->value);
    } else if (field.default_value) {
      values[i] = *field.default_value;
    } else if (!field.default_field.empty()) {
      values[i] = values[kind.field(field.default_field).value()];
    } else {
      refuse(fmt::format("{}: {} is missing", described.name, field.name));
    }
  }
  const Spec spec(kind, std::span(values).first(described.fields.size()));
  validate(spec);
  return spec;
}

}  // namespace librt
