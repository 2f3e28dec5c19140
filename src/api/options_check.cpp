#include "src/api/options_check.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace librt::api {
namespace {

template <class Enum>
void require(std::string_view member, Enum value, Enum last, std::string_view allowed) {
  const int number = static_cast<int>(value);
  if (number >= 0 && number <= static_cast<int>(last)) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("Options::{} is {}; allowed: {}", member, number, allowed));
}

/// The system would take what stands before a NUL, which is another path.
void require_path(std::string_view member, std::string_view path) {
  const std::size_t at = path.find('\0');
  if (at == path.npos) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("Options::{} has a NUL behind \"{}\"; no path has one", member, path.substr(0, at)));
}

}  // namespace

Options checked(Options options) {
  require_path("kernels_dir", options.kernels_dir);
  require_path("nvrtc", options.nvrtc);
  require_path("record", options.record);
  require("cache_mode", options.cache_mode, CacheMode::only, "CacheMode::rw, ro, off, only");
  require("cache_trust", options.cache_trust, CacheTrust::shared, "CacheTrust::own, shared");
  require("log_level", options.log_level, LogLevel::error, "LogLevel::debug, info, warn, error");
  return options;
}

}  // namespace librt::api
