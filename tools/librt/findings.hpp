// What a check found: every problem counted, the first of each kind told in full.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/librt/terminal.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {

/// Problems of one severity. A damaged file has millions; the list keeps the first of each kind and counts the rest.
class FindingList {
 public:
  static constexpr std::size_t kListedPerKind = 16;

  struct Finding {
    std::string kind;
    std::string what;  ///< one line that names what, where, its value and what is allowed
    Json where;        ///< the same for programs; an object
  };

  void add(const std::string& kind, std::string what, Json where = Json::object());
  /// Whether another of this kind would only be counted, so that its text need not be made.
  bool only_counts(const std::string& kind) const;
  void count(const std::string& kind) { ++counts_[kind]; }

  std::size_t total() const;
  std::size_t total(const std::string& kind) const;
  const std::vector<Finding>& listed() const { return listed_; }
  /// How many of each kind there are that listed() leaves out.
  std::map<std::string, std::size_t> left_out() const;
  /// An array of {"kind", "what", and where}; a last one of a kind that is cut short has "left_out".
  Json to_json() const;
  /// One line each, in the order in which they were found, each beginning with `prefix`.
  std::string to_text(std::string_view prefix, Style style) const;

 private:
  std::vector<Finding> listed_;
  std::map<std::string, std::size_t> counts_;
};

struct Findings {
  FindingList problems;
  FindingList notes;
};

}  // namespace librt::tool
