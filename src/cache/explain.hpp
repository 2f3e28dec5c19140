// Why a key is not there: the entry that comes nearest to it, and the fields of the two key documents that differ.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/cache/store.hpp"

namespace librt::cache {

using Difference = CacheDifference;

/// Of two key documents (JSON objects), in the order of the fields.
std::vector<Difference> differences(std::string_view wanted, std::string_view found);

struct Nearest {
  std::string key;
  std::string path;
  std::vector<Difference> differences;
  bool of_all = true;  // false: of the entries that a bounded search has looked at
};

enum class Search {
  whole,
  bounded,  // some hundred entries or a tenth of a second: see search_bound.hpp
};

/// The valid entry with the same spec, else the most similar one; then the same target; then the fewest differences.
/// Nothing if there is no valid entry. A document without a compiler differs in it from none.
std::optional<Nearest> nearest_entry(std::span<const Store* const> stores, std::string_view key_document,
                                     Search search);

/// "no entry ..." or "the nearest, <key>, differs in: ...", for a message.
std::string in_words(const std::optional<Nearest>& nearest);

}  // namespace librt::cache
