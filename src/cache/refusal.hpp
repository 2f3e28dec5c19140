// What find() and scan() both ask of an entry that was read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "src/cache/entry.hpp"
#include "src/cache/store.hpp"

namespace librt::cache {

/// Why the entry may not be used; empty if it may. Without `key_document` any will do. Either callback may be empty.
/// Before they are asked, size and nesting of the key document and of the metadata are within bounds.
std::string entry_refusal(const std::variant<Entry, Rejected>& decoded, const Validate& validate,
                          std::optional<std::string_view> key_document, const Validate& expected = {});

}  // namespace librt::cache
