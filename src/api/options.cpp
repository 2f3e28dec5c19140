#include <librt/error.hpp>
#include <librt/options.hpp>

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <ranges>

#include "src/cache/store.hpp"
#include "src/util/env.hpp"
#include "src/util/text.hpp"

namespace librt {
namespace {

LogLevel parse_log_level(const std::string& text) {
  if (text == "debug") return LogLevel::debug;
  if (text == "info") return LogLevel::info;
  if (text == "warn") return LogLevel::warn;
  if (text == "error") return LogLevel::error;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("LIBRT_LOG={} is not a level; allowed: debug, info, warn, error", util::shown(text)));
}

[[noreturn]] void refuse(const char* name, const std::string& value, const char* allowed) {
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}={} is not allowed; allowed: {}", name, util::shown(value), allowed));
}

CacheMode parse_cache_mode(const char* name, const std::string& text) {
  if (text == "rw") return CacheMode::rw;
  if (text == "ro") return CacheMode::ro;
  if (text == "off") return CacheMode::off;
  if (text == "only") return CacheMode::only;
  refuse(name, text, "rw, ro, off, only");
}

CacheTrust parse_trust(const char* name, const std::string& text) {
  if (text == "private") return CacheTrust::own;
  if (text == "shared") return CacheTrust::shared;
  refuse(name, text, "private, shared");
}

bool parse_switch(const char* name, const std::string& text) {
  if (text == "0") return false;
  if (text == "1") return true;
  refuse(name, text, "0, 1");
}

unsigned parse_milliseconds(const char* name, const std::string& text) {
  const auto value = util::number_in<unsigned>(text);
  if (!value) refuse(name, text, "0..4294967295 milliseconds");
  return *value;
}

/// Empty parts are left out.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (const auto part : std::views::split(std::string_view(text), ':')) {
    if (!part.empty()) parts.emplace_back(part.begin(), part.end());
  }
  return parts;
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  unsigned shift = 0;
  if (unit == "K" || unit == "k")
    shift = 10;
  else if (unit == "M" || unit == "m")
    shift = 20;
  else if (unit == "G" || unit == "g")
    shift = 30;
  else if (!unit.empty())
    return std::nullopt;
  if (value > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return value << shift;
}

Options Options::from_env() {
  Options options;
  if (const auto value = util::env("LIBRT_CACHE_DIR")) {
    cache::require_absolute("LIBRT_CACHE_DIR", *value);
    options.cache_dir = *value;
  }
  if (const auto value = util::env("LIBRT_CACHE_MODE")) {
    options.cache_mode = parse_cache_mode("LIBRT_CACHE_MODE", *value);
  }
  if (const auto value = util::env("LIBRT_CACHE_RO")) {
    options.cache_read_only = split(*value);
    for (const std::string& each : options.cache_read_only) cache::require_absolute("LIBRT_CACHE_RO", each);
  }
  if (const auto value = util::env("LIBRT_CACHE_MAX_SIZE")) {
    const auto bytes = parse_size(*value);
    if (!bytes) refuse("LIBRT_CACHE_MAX_SIZE", *value, "a number of bytes with or without K, M, G; 0 = no bound");
    options.cache_max_bytes = *bytes;
  }
  if (const auto value = util::env("LIBRT_CACHE_TRUST")) {
    options.cache_trust = parse_trust("LIBRT_CACHE_TRUST", *value);
  }
  if (const auto value = util::env("LIBRT_CACHE_FSYNC")) {
    options.cache_fsync = parse_switch("LIBRT_CACHE_FSYNC", *value);
  }
  if (const auto value = util::env("LIBRT_LOCK_TIMEOUT_MS")) {
    options.lock_timeout_ms = parse_milliseconds("LIBRT_LOCK_TIMEOUT_MS", *value);
  }
  if (const auto value = util::env("LIBRT_VIRTUAL_INSTRUCTION_LIMIT")) {
    const auto limit = parse_size(*value);
    if (!limit) refuse("LIBRT_VIRTUAL_INSTRUCTION_LIMIT", *value, "a number with or without K, M, G; 0 = no bound");
    options.virtual_instruction_limit = *limit;
  }
  if (const auto value = util::env("LIBRT_KERNELS_DIR")) options.kernels_dir = *value;
  if (const auto value = util::env("LIBRT_DEVICE")) options.device = *value;
  if (const auto value = util::env("LIBRT_NVRTC")) options.nvrtc = *value;
  if (const auto value = util::env("LIBRT_RECORD")) options.record = *value;
  if (const auto value = util::env("LIBRT_LOG")) options.log_level = parse_log_level(*value);
  return options;
}

}  // namespace librt
