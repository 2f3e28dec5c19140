// Whose directories and files are used: who can write them chooses the code that runs. See SECURITY.md.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

namespace librt::util {

enum class Trust {
  own,     // the effective user's and root's that nobody else can write
  shared,  // anybody's that not everybody can write: for a directory that an administrator made for a group
};

/// Why a file or directory with this status may not be used, or nothing.
std::optional<std::string> distrust(const struct stat& status, Trust trust = Trust::own);

}  // namespace librt::util
