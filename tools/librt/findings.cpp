#include "tools/librt/findings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "src/util/text.hpp"

namespace librt::tool {

void FindingList::add(const std::string& kind, std::string what, Json where) {
  if (!only_counts(kind)) listed_.push_back({kind, std::move(what), std::move(where)});
  count(kind);
}

bool FindingList::only_counts(const std::string& kind) const {
  const auto found = counts_.find(kind);
  return found != counts_.end() && found->second >= kListedPerKind;
}

std::size_t FindingList::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::size_t{0},
                         [](std::size_t sum, const auto& entry) { return sum + entry.second; });
}

std::size_t FindingList::total(const std::string& kind) const {
  const auto found = counts_.find(kind);
  return found == counts_.end() ? 0 : found->second;
}

std::map<std::string, std::size_t> FindingList::left_out() const {
  std::map<std::string, std::size_t> result;
  for (const auto& [kind, found] : counts_) {
    if (found > kListedPerKind) result[kind] = found - kListedPerKind;
  }
  return result;
}

Json FindingList::to_json() const {
  Json list = Json::array();
  for (const Finding& finding : listed_) {
    Json entry{{"kind", finding.kind}, {"what", finding.what}};
    entry.update(finding.where);
    list.push_back(std::move(entry));
  }
  for (const auto& [kind, count] : left_out()) {
    list.push_back({{"kind", kind}, {"what", fmt::format("{} more of kind {}", count, kind)}, {"left_out", count}});
  }
  return list;
}

std::string FindingList::to_text(std::string_view prefix, Style style) const {
  std::string text;
  const auto add_line = [&](const std::string& kind, const std::string& what) {
    text += labelled(style, std::string(prefix), fmt::format(" {}: {}", kind, util::printable(what)));
  };
  for (const Finding& finding : listed_) add_line(finding.kind, finding.what);
  for (const auto& [kind, count] : left_out())
    add_line(kind, fmt::format("{} more of this kind are not listed", count));
  return text;
}

}  // namespace librt::tool
