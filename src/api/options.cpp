#include <librt/error.hpp>
#include <librt/options.hpp>

#include <fmt/format.h>

#include "src/util/env.hpp"

namespace librt {
namespace {

LogLevel parse_log_level(const std::string& text) {
  if (text == "debug") return LogLevel::debug;
  if (text == "info") return LogLevel::info;
  if (text == "warn") return LogLevel::warn;
  if (text == "error") return LogLevel::error;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("LIBRT_LOG={} is not a level; allowed: debug, info, warn, error", text));
}

}  // namespace

Options Options::from_env() {
  Options options;
  // LIBRT_CACHE_DIR is read where the cache is located, so that cache queries and a Runtime agree on the reason.
  if (const auto value = util::env("LIBRT_KERNELS_DIR")) options.kernels_dir = *value;
  if (const auto value = util::env("LIBRT_DEVICE")) options.device = *value;
  if (const auto value = util::env("LIBRT_NVRTC")) options.nvrtc = *value;
  if (const auto value = util::env("LIBRT_LOG")) options.log_level = parse_log_level(*value);
  return options;
}

}  // namespace librt
