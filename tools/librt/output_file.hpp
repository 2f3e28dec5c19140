// Files that a verb is told to write, looked at before it works.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/librt/verb.hpp"

namespace librt::tool {

/// Throws UsageError unless a file can be written to `path`, and is none of `inputs`: neither one of them, by whatever
/// links and names, nor an existing file below one that is a directory. Empty inputs do not count.
/// @param option what it is called where it is typed: "-o".
void require_output(std::string_view option, const std::string& path, const std::vector<std::string>& inputs);

/// What a Runtime with these options reads, and no verb may write over.
std::vector<std::string> files_of(const Options& options);

/// Whether two paths lead to one file; it need not be there yet.
bool same_file(const std::string& a, const std::string& b);

}  // namespace librt::tool
