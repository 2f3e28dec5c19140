// The PTX of a specialization with the lines of kernels/ in it, for reports.
#pragma once

#include <librt/artifact.hpp>
#include <librt/options.hpp>

#include <string>
#include <string_view>

#include "src/api/specialize.hpp"

namespace librt::api {

/// PTX text without what -lineinfo adds: .file, .loc, debug sections, and the labels that those refer to.
std::string without_line_info(std::string_view ptx);

/// Compiles once more with -lineinfo, past the cache, since that option is no part of what ships.
/// @param options as for the Runtime that made `artifact`
/// Throws Error: what compiling throws; internal if the result differs from the artifact's PTX in more than lines.
std::string ptx_with_lines(const Options& options, const Specialized& specialized, const Artifact& artifact);

}  // namespace librt::api
