// What is asked of JSON out of a file before it is parsed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace librt::util {

/// Far more than librt writes itself.
inline constexpr std::size_t kMaxJsonBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxJsonLevels = 16;

/// "has 2000000 bytes; ..." or "is nested ..." of a text that is too large or too deep; else empty, also for what is no
/// JSON at all. The parser takes any depth and size, while comparing, copying and printing its result call themselves
/// for each level.
std::string json_problem(std::string_view text, std::size_t max_bytes = kMaxJsonBytes,
                         std::size_t max_levels = kMaxJsonLevels);

}  // namespace librt::util
