#include "src/api/spec_pattern.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "src/kernel/registry.hpp"
#include "src/kernel/spec_words.hpp"
#include "src/util/refuse.hpp"
#include "src/util/text.hpp"

namespace librt::api {
namespace {

using util::shown;

constexpr std::size_t kMostInValue = 32;
constexpr std::string_view kAllowed = "a value, or several of them with commas";

using util::refuse;

bool is_word(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char each) { return each > ' ' && each < '\x7f' && each != '='; });
}

}  // namespace

SpecPattern::SpecPattern(std::string_view kernel, std::size_t max_values)
    : SpecPattern(kernel::require(kernel), max_values) {}

SpecPattern::SpecPattern(const KernelKind& kind, std::size_t max_values)
    : kind_(kind), kernel_(kind.description().name), max_values_(max_values) {
  for (const Field& field : kind.description().fields) members_.push_back({.name = field.name});
}

SpecPattern SpecPattern::parse_line(std::string_view line, std::size_t max_values) {
  const std::vector<std::string> words = kernel::split_words(line);
  if (words.empty()) {
    refuse(fmt::format("the line is empty; allowed: {}, then key=value ...", fmt::join(kernel::names(), " or ")));
  }
  SpecPattern pattern(words[0], max_values);
  for (std::size_t i = 1; i < words.size(); ++i) {
    const kernel::Assignment assignment = kernel::split_assignment(pattern.kind_, words[i]);
    const Member& member = pattern.members_[assignment.field];
    if (!member.values.empty()) refuse(fmt::format("{}: {} is given twice", words[0], member.name));
    pattern.add(member.name, assignment.value);
  }
  return pattern;
}

SpecPattern::Member& SpecPattern::member(std::string_view name, std::string_view values) {
  const auto found = std::ranges::find(members_, name, &Member::name);
  if (found == members_.end()) kernel::refuse_name(kind_, name, fmt::format("{}={}", name, values));
  return *found;
}

void SpecPattern::add(std::string_view name, std::string_view values) {
  Member& to = member(name, values);
  std::size_t begin = 0;
  while (begin <= values.size()) {
    const std::size_t end = std::min(values.find(',', begin), values.size());
    add_item(to, values.substr(begin, end - begin), values);
    begin = end + 1;
  }
}

void SpecPattern::add_item(Member& to, std::string_view item, std::string_view all) {
  const auto malformed = [&] {
    refuse(fmt::format("{}: {}={} is not a list of values; allowed: {}", kernel_, to.name, shown(all), kAllowed));
  };
  if (!is_word(item) || item.size() > kMostInValue) malformed();
  if (to.values.size() == max_values_) {
    refuse(fmt::format("{}: {}={} has more than {} values", kernel_, to.name, shown(all), max_values_));
  }
  to.values.emplace_back(item);
}

std::size_t SpecPattern::count(std::size_t before, std::size_t limit) const {
  std::uint64_t specs = 1;
  for (const Member& each : members_) {
    if (each.values.empty()) continue;
    specs *= each.values.size();  // both are bounded, so that this cannot overflow
    if (before + specs > limit) {
      refuse(fmt::format("{}: with {} values of {} the manifest asks for {} specs or more; allowed: at most {}",
                         kernel_, each.values.size(), each.name, before + specs, limit));
    }
  }
  return specs;
}

void SpecPattern::for_each(const std::function<void(Spec)>& visit) const {
  std::vector<std::size_t> given;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (!members_[i].values.empty()) given.push_back(i);
  }
  std::vector<std::size_t> chosen(given.size());
  while (true) {
    std::vector<kernel::Assignment> assignments;
    for (std::size_t i = 0; i < given.size(); ++i) {
      assignments.push_back({.field = given[i], .value = members_[given[i]].values[chosen[i]]});
    }
    visit(kernel::spec_of(kind_, assignments));
    std::size_t i = given.size();
    while (i > 0 && ++chosen[i - 1] == members_[given[i - 1]].values.size()) chosen[--i] = 0;
    if (i == 0) return;
  }
}

}  // namespace librt::api
