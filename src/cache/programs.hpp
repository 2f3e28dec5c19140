// Which entries were compiled from one program, whoever compiled it: the index by which a machine without a compiler
// finds them. It is made of empty files whose names say it all, so that a copy of the directory has it too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/cache/directory.hpp"
#include "src/util/hash.hpp"

namespace librt::cache {

/// Frozen, as the other names in a store.
inline constexpr const char* kProgramsDirectory = "programs";

/// Of the key document without its compiler.
util::Digest program_of(std::string_view key_document);

/// {13, 0} of "13.0"; {0, 0} where the document names no version.
std::pair<int, int> compiler_version(std::string_view key_document);

/// Makes the mark, unless it is there. Best effort: says what went wrong, or nothing.
std::optional<std::string> mark_program(const Directory& format, const util::Digest& program, const util::Digest& key);

/// The keys that are marked, sorted. A key may be that of no entry.
std::vector<util::Digest> marked_keys(const Directory& format, const util::Digest& program);

/// Removes the marks whose entries are gone.
void sweep_programs(const Directory& format);

}  // namespace librt::cache
