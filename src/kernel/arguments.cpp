#include "src/kernel/arguments.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "src/kernel/launch_checks.hpp"
#include "src/util/refuse.hpp"
#include "src/util/text.hpp"

namespace librt::kernel {
namespace {

constexpr Binding kUnbound{};

using util::refuse;

Binding::Kind kind_of(const Operand& operand) {
  switch (operand.form) {
    case Form::paged:
      return Binding::Kind::pages;
    case Form::rows:
      return Binding::Kind::rows;
    case Form::scalar:
      return Binding::Kind::number;
    case Form::count:
      return Binding::Kind::count;
    case Form::workspace:
      return Binding::Kind::workspace;
    case Form::dense:
      break;
  }
  return Binding::Kind::pointer;
}

std::string_view in_words(Binding::Kind kind) {
  switch (kind) {
    case Binding::Kind::pointer:
      return "a pointer";
    case Binding::Kind::rows:
      return "a RowTensor";
    case Binding::Kind::pages:
      return "a PagedTensor";
    case Binding::Kind::number:
      return "a number";
    case Binding::Kind::count:
      return "a Count";
    case Binding::Kind::workspace:
      return "a Workspace";
  }
  return "nothing that is known";
}

[[noreturn]] void refuse_name(const Spec& spec, std::string_view name) {
  std::vector<std::string_view> names;
  for (const Operand& each : spec.kind()->description().operands) names.push_back(each.name);
  std::string whose;
  for (const KernelKind* const other : kernel_kinds()) {
    if (whose.empty() && other->operand(name)) whose = fmt::format(" (it is one of {})", other->description().name);
  }
  refuse(fmt::format("{} is no argument of {}{}{}", name.empty() ? "\"\"" : util::shown(name), spec.kernel(), whose,
                     util::allowed_names(name, names)));
}

}  // namespace

Arguments::Arguments(const Spec& spec, std::span<const Binding> bindings)
    : spec_(spec), kind_(*spec.kind()), operands_(kind_.description().operands) {
  bound_.fill(&kUnbound);
  for (std::size_t i = 0; i < bindings.size(); ++i) {
    const Binding& binding = bindings[i];
    // Whoever binds in the order of the operands is found at once.
    std::optional<std::size_t> operand = i;
    if (i >= operands_.size() || operands_[i].name != binding.name) operand = kind_.operand(binding.name);
    if (!operand) refuse_name(spec, binding.name);
    if (bound_[*operand] != &kUnbound) refuse(fmt::format("{} is given twice", binding.name));
    if (binding.kind != kind_of(operands_[*operand])) {
      refuse(fmt::format("{} is {}; allowed: {}", binding.name, in_words(binding.kind),
                         in_words(kind_of(operands_[*operand]))));
    }
    bound_[*operand] = &binding;
  }
}

bool Arguments::has_work() {
  bool all = true;
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    if (operands_[i].form != Form::count) continue;
    counts_[i] = bound_[i]->count.value;
    if (counts_[i] < 0 || counts_[i] > std::numeric_limits<std::int32_t>::max() - 1) {
      refuse(fmt::format("{} is {}; allowed: 0..2147483646", operands_[i].name, counts_[i]));
    }
    all = all && counts_[i] > 0;
  }
  return all;
}

void Arguments::check(const LaunchFacts& facts) {
  for (std::size_t i = 0; i < operands_.size(); ++i) check_one(i, facts);
  for (std::size_t i = 1; i < num_paged_; ++i) {
    require_equal_pages(operands_[paged_operand_[0]].name, paged_[0], operands_[paged_operand_[i]].name, paged_[i]);
  }
  check_overlap(facts);
}

void Arguments::check_one(std::size_t i, const LaunchFacts& facts) {
  const Operand& operand = operands_[i];
  const Binding& binding = *bound_[i];
  switch (operand.form) {
    case Form::paged:
      return check_paged(i, facts);
    case Form::workspace:
      return check_workspace(operand.name, binding.workspace, facts.workspace_bytes);
    case Form::scalar:
      if (!std::isfinite(binding.number) || (operand.nonzero && binding.number == 0)) {
        refuse(fmt::format("{} is {}; it must be finite{}", operand.name, binding.number,
                           operand.nonzero ? " and not 0" : ""));
      }
      return;
    case Form::count:
      return;
    case Form::rows:
      return check_rows_of(i, facts);
    case Form::dense:
      if (operand.meaning == Meaning::kv_indices && !facts.owns_pages) return;
      const std::uintptr_t alignment = kind_.resolved(i).dtype_field ? kTensorAlignment : alignof(std::int32_t);
      operand.optional ? require_aligned(operand.name, binding.data, alignment)
                       : require_pointer(operand.name, binding.data, alignment);
  }
}

void Arguments::check_paged(std::size_t i, const LaunchFacts& facts) {
  const Operand& operand = operands_[i];
  const auto& extents = kind_.resolved(i).extents;
  const auto extent = [&](std::size_t n) { return static_cast<int>(extents[n].value(spec_, sizes(facts))); };
  const std::size_t last = operand.shape.size() - 1;
  const PagedArgument argument{operand.name, bound_[i]->pages,  extent(1), last == 3 ? extent(2) : 1,
                               extent(last), stride_multiple(i)};
  const Strides strides = check_pages(argument, facts.owns_pages);
  PagedTensor& tensor = paged_.at(num_paged_);
  tensor = bound_[i]->pages;
  tensor.page_stride = strides.page;
  tensor.token_stride = strides.token;
  tensor.head_stride = strides.head;
  place_[i] = num_paged_;
  paged_operand_.at(num_paged_++) = i;
}

void Arguments::check_rows_of(std::size_t i, const LaunchFacts& facts) {
  const Operand& operand = operands_[i];
  const auto extent = [&](std::size_t n) {
    return static_cast<int>(kind_.resolved(i).extents[n].value(spec_, sizes(facts)));
  };
  const std::size_t last = operand.shape.size() - 1;
  rows_.at(num_rows_) =
      check_rows(operand.name, bound_[i]->rows, last == 2 ? extent(1) : 1, extent(last), stride_multiple(i));
  place_[i] = num_rows_++;
}

KernelKind::Sizes Arguments::sizes(const LaunchFacts& facts) const {
  return {facts.batch, num_paged_ == 0 ? 0 : paged_[0].num_pages, counts_.data()};
}

std::int64_t Arguments::stride_multiple(std::size_t operand) const {
  return static_cast<std::int64_t>(kTensorAlignment / kind_.element_bytes(operand, spec_));
}

/// Of an operand whose size the host does not know, and of one with strides, the first byte.
std::size_t Arguments::bytes_of(std::size_t i, const LaunchFacts& facts) const {
  const Operand& operand = operands_[i];
  if (operand.form == Form::workspace) return facts.workspace_bytes;
  if (operand.form != Form::dense || operand.shape.empty()) return 1;
  std::size_t bytes = kind_.element_bytes(i, spec_);
  for (std::size_t n = 0; n < operand.shape.size(); ++n) {
    bytes *= static_cast<std::size_t>(kind_.resolved(i).extents[n].value(spec_, sizes(facts)));
  }
  return bytes;
}

/// What is written lies apart from all else. Null is no memory.
void Arguments::check_overlap(const LaunchFacts& facts) const {
  struct Region {
    std::uintptr_t begin;
    std::size_t bytes;
    std::size_t operand;
  };
  std::array<Region, kMost> regions;  // not initialised: a launch has no time for it
  std::size_t count = 0;
  for (std::size_t i = 0; i < operands_.size(); ++i) {
    if (const void* const data = address_of(i)) {
      regions[count++] = {reinterpret_cast<std::uintptr_t>(data), bytes_of(i, facts), i};
    }
  }
  for (std::size_t a = 0; a < count; ++a) {
    if (operands_[regions[a].operand].access == Access::read) continue;
    for (std::size_t b = 0; b < count; ++b) {
      // Of the two differences one wraps round, and is larger than any size.
      const bool overlap = regions[b].begin - regions[a].begin < regions[a].bytes ||
                           regions[a].begin - regions[b].begin < regions[b].bytes;
      if (a == b || !overlap || regions[a].bytes == 0 || regions[b].bytes == 0) continue;
      refuse(fmt::format("{} at {} overlaps {} at {}; what a launch writes must lie apart from all else",
                         operands_[regions[a].operand].name, address_of(regions[a].operand),
                         operands_[regions[b].operand].name, address_of(regions[b].operand)));
    }
  }
}

const void* Arguments::address_of(std::size_t operand) const {
  const Binding& binding = *bound_[operand];
  switch (operands_[operand].form) {
    case Form::rows:
      return binding.rows.data;
    case Form::paged:
      return binding.pages.data;
    case Form::workspace:
      return binding.workspace.data;
    case Form::dense:
      return binding.data;
    case Form::scalar:
    case Form::count:
      break;
  }
  return nullptr;
}

void Arguments::bind(LaunchArguments& launch) const {
  for (std::size_t i = 0; i < operands_.size(); ++i) bind(i, launch, i);
}

void Arguments::bind(std::size_t operand, LaunchArguments& launch, std::size_t as) const {
  switch (operands_[operand].form) {
    case Form::paged:
      return launch.bind(as, &paged_[place_[operand]]);
    case Form::rows:
      return launch.bind(as, &rows_[place_[operand]]);
    case Form::count:
      return launch.bind(as, Count{counts_[operand]});
    case Form::scalar:
      return launch.bind(as, bound_[operand]->number);
    case Form::dense:  // the operand says whether it is written
      return launch.bind(as, const_cast<void*>(bound_[operand]->data));
    case Form::workspace:
      return;
  }
}

const std::int32_t* Arguments::integers(Meaning meaning) const {
  const auto operand = kind_.operand(meaning);
  return operand ? static_cast<const std::int32_t*>(bound_[*operand]->data) : nullptr;
}

void* Arguments::workspace() const {
  return bound_.at(kind_.workspace())->workspace.data;
}

}  // namespace librt::kernel
