// The #include lines of a source text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace librt::jit {

/// Names in the order of their lines, both "" and <> forms, whatever #if they stand under.
/// Throws Error(compile_failed) that names `file` and the line for an include whose name is computed by a macro: what
/// it reads could not be known before the compiler runs.
std::vector<std::string> included_names(std::string_view file, std::string_view text);

}  // namespace librt::jit
