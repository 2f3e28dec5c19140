// A directory of kernel sources, read by the rules of SECURITY.md.
#pragma once

#include <string>
#include <vector>

#include "src/jit/source_file.hpp"
#include "src/util/trust.hpp"

namespace librt::jit {

/// Its *.cuh and *.h, those of its subdirectories too; hidden names are passed over. The directory itself may be a
/// symbolic link, nothing below it may, and all of it must be trusted. Throws Error: io (unreadable), invalid_argument
/// (no directory, or one that may not be used: names the file and the reason).
std::vector<SourceFile> read_source_directory(const std::string& directory, util::Trust trust);

}  // namespace librt::jit
