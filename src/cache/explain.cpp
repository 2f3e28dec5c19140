#include "src/cache/explain.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <utility>

#include "src/cache/search_bound.hpp"
#include "src/util/json_bounds.hpp"
#include "src/util/key_document.hpp"

namespace librt::cache {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNone = "none";
constexpr std::size_t kDifferencesInWords = 6;
constexpr std::size_t kShortValue = 24;

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// [["a", x], ["b", y]] is an object in all but name.
bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), [](const Json& row) {
           return row.is_array() && row.size() == 2 && row[0].is_string();
         });
}

/// In the order of the rows; of rows with one name, the last. Not by one look-up a row, which are linear in these.
Json as_object(const Json& table) {
  std::map<std::string, std::size_t> last;
  for (std::size_t i = 0; i < table.size(); ++i) last[table[i][0].get<std::string>()] = i;
  Json::object_t members;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const auto& name = table[i][0].get_ref<const std::string&>();
    if (last[name] == i) members.push_back({name, table[i][1]});
  }
  return members;
}

/// The items of `value` that `other` does not have.
std::string only_in(const Json& value, const Json& other) {
  std::string text;
  for (const Json& item : value) {
    if (std::find(other.begin(), other.end(), item) == other.end()) text += (text.empty() ? "" : " ") + text_of(item);
  }
  return text.empty() ? kNone : text;
}

void compare(const std::string& field, const Json& wanted, const Json& found, std::vector<Difference>& out);

void compare_members(const Json& wanted, const Json& found, std::vector<Difference>& out,
                     const std::function<std::string(const std::string&)>& name) {
  for (const auto& [member, value] : wanted.items()) {
    const auto other = found.find(member);
    if (other == found.end()) {
      out.push_back({name(member), text_of(value), kNone});
    } else {
      compare(name(member), value, *other, out);
    }
  }
  for (const auto& [member, value] : found.items()) {
    if (!wanted.contains(member)) out.push_back({name(member), kNone, text_of(value)});
  }
}

void compare(const std::string& field, const Json& wanted, const Json& found, std::vector<Difference>& out) {
  if (wanted == found) return;
  if (wanted.is_object() && found.is_object()) {
    compare_members(wanted, found, out, [&](const std::string& member) { return field + "." + member; });
  } else if (is_table(wanted) && is_table(found)) {
    compare_members(as_object(wanted), as_object(found), out,
                    [&](const std::string& member) { return field + "[" + member + "]"; });
  } else if (wanted.is_array() && found.is_array()) {
    const bool order_alone = only_in(wanted, found) == kNone && only_in(found, wanted) == kNone;
    out.push_back(order_alone ? Difference{field, wanted.dump(), found.dump()}
                              : Difference{field, only_in(wanted, found), only_in(found, wanted)});
  } else {
    out.push_back({field, text_of(wanted), text_of(found)});
  }
}

/// Another specialization is further away than another target, and that than any number of other differences.
std::size_t distance(const std::vector<Difference>& differences) {
  constexpr std::size_t kSpec = 1'000'000;
  constexpr std::size_t kTarget = 10'000;
  std::size_t sum = differences.size();
  for (const Difference& difference : differences) {
    if (difference.field.starts_with("spec")) sum += kSpec;
    if (difference.field == "target") sum += kTarget;
  }
  return sum;
}

std::string shortened(const std::string& value) {
  return value.size() <= kShortValue ? value : value.substr(0, kShortValue - 3) + "...";
}

/// Keeps the order of the fields, whose parser looks through all before each: of those that are too many to be librt's,
/// not the order, but the time. Nothing within bounds: null.
Json parse(std::string_view text) {
  constexpr std::size_t kSurelyQuick = 1 << 14;
  if (!util::json_problem(text).empty()) return {};
  return text.size() <= kSurelyQuick ? Json::parse(text, nullptr, false)
                                     : Json(nlohmann::json::parse(text, nullptr, false));
}

}  // namespace

std::vector<Difference> differences(std::string_view wanted, std::string_view found) {
  const Json left = parse(wanted);
  const Json right = parse(found);
  std::vector<Difference> result;
  if (left.is_object() && right.is_object()) {
    compare_members(left, right, result, [](const std::string& member) { return member; });
  } else if (wanted != found) {
    result.push_back({"key document", std::string(wanted), std::string(found)});
  }
  return result;
}

std::optional<Nearest> nearest_entry(std::span<const Store* const> stores, std::string_view key_document,
                                     Search search) {
  const bool any_compiler = util::compiler_in(key_document).empty();
  std::optional<Nearest> nearest;
  SearchBound bound(stores.empty() ? system_io() : *stores.front()->access().io);
  bool goes_on = true;
  for (const Store* store : stores) {
    if (!goes_on) break;
    store->visit_while([&](StoredFile file, const Store::VisitedFile*) {
      goes_on = bound.goes_on() || search == Search::whole;
      if (!file.entry) return goes_on;
      const std::string& found = file.entry->key_document;
      auto differing =
          any_compiler ? differences(key_document, util::program_document(found)) : differences(key_document, found);
      if (nearest && distance(nearest->differences) <= distance(differing)) return goes_on;
      nearest = Nearest{std::move(file.key), std::move(file.path), std::move(differing)};
      return goes_on;
    });
  }
  if (nearest) nearest->of_all = goes_on;
  return nearest;
}

std::string in_words(const std::optional<Nearest>& nearest) {
  if (!nearest) return "there is no entry at all";
  if (nearest->differences.empty()) return "the entry that is there cannot be used: the log says why";
  std::string text =
      fmt::format("the nearest {}, {}, differs in",
                  nearest->of_all ? "entry" : "of the entries looked at (`librt cache why` looks at all)",
                  nearest->key.substr(0, 12));
  const std::size_t shown = std::min(nearest->differences.size(), kDifferencesInWords);
  for (std::size_t i = 0; i < shown; ++i) {
    const Difference& difference = nearest->differences[i];
    text += fmt::format("{} {} (wanted {}, there {})", i == 0 ? "" : ",", difference.field,
                        shortened(difference.wanted), shortened(difference.found));
  }
  if (shown < nearest->differences.size()) text += fmt::format(" and {} more", nearest->differences.size() - shown);
  return text;
}

}  // namespace librt::cache
