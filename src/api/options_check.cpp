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

}  // namespace

Options checked(Options options) {
  require("cache_mode", options.cache_mode, CacheMode::only, "CacheMode::rw, ro, off, only");
  require("cache_trust", options.cache_trust, CacheTrust::shared, "CacheTrust::own, shared");
  require("log_level", options.log_level, LogLevel::error, "LogLevel::debug, info, warn, error");
  return options;
}

}  // namespace librt::api
