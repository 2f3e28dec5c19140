// What was typed, read as the library reads it; what it refuses is a UsageError.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <vector>

#include "tools/librt/verb.hpp"

namespace librt::tool {

/// The words "KERNEL key=value..."
Spec typed_spec(const std::vector<std::string>& words);
Arch typed_arch(const std::string& text);
std::vector<Arch> typed_archs(const std::vector<std::string>& texts);

}  // namespace librt::tool
