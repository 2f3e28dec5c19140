// What was typed, read as the library reads it; what it refuses is a UsageError.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "tools/librt/verb.hpp"

namespace librt::tool {

/// The words "KERNEL key=value..."
Spec typed_spec(const std::vector<std::string>& words);
/// One that librt never supports is a UsageError too; whether this machine's NVRTC knows it is seen later.
Arch typed_arch(const std::string& text);
std::vector<Arch> typed_archs(const std::vector<std::string>& texts);
/// Those that were typed, or else the manifest's, of which `name` says where they stand. None at all is a UsageError;
/// one of the manifest that librt never supports is wrong in the manifest: an Error(invalid_argument).
std::vector<Arch> wanted_archs(const std::vector<std::string>& texts, const Manifest& manifest, std::string_view name);

}  // namespace librt::tool
