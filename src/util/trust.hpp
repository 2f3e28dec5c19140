// Whose directories and files are used: who can write them chooses the code that runs. See SECURITY.md.
#pragma once

#include <librt/options.hpp>

#include <sys/stat.h>

#include <optional>
#include <string>

namespace librt::util {

using Trust = CacheTrust;

/// Why a file or directory with this status may not be used, or nothing.
std::optional<std::string> distrust(const struct stat& status, Trust trust = Trust::own);

}  // namespace librt::util
