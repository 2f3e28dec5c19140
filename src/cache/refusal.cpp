#include "src/cache/refusal.hpp"

#include <fmt/format.h>

#include <exception>
#include <utility>

#include "src/util/json_bounds.hpp"

namespace librt::cache {

std::string entry_refusal(const std::variant<Entry, Rejected>& decoded, const Validate& validate,
                          std::optional<std::string_view> key_document, const Validate& expected) {
  if (const auto* rejected = std::get_if<Rejected>(&decoded)) return rejected->reason;
  const Entry& entry = std::get<Entry>(decoded);
  if (key_document && entry.key_document != *key_document) return "its key document is not the one asked for";
  for (const auto& [name, text] : {std::pair("its key document", &entry.key_document), {"its metadata", &entry.meta}}) {
    if (std::string problem = util::json_problem(*text); !problem.empty()) return fmt::format("{} {}", name, problem);
  }
  try {
    for (const Validate* check : {&validate, &expected}) {
      if (!*check) continue;
      if (auto problem = (*check)(entry)) return *std::move(problem);
    }
    return {};
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace librt::cache
