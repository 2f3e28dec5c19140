#include "src/cache/unusable.hpp"

#include <exception>

namespace librt::cache {

std::string unusable(const std::variant<Entry, Rejected>& decoded, const Validate& validate,
                     std::optional<std::string_view> key_document) {
  if (const auto* rejected = std::get_if<Rejected>(&decoded)) return rejected->reason;
  const Entry& entry = std::get<Entry>(decoded);
  if (key_document && entry.key_document != *key_document) return "its key document is not the one asked for";
  if (!validate) return {};
  try {
    return validate(entry).value_or(std::string());
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace librt::cache
