// What `librt doctor` says of the settings: each with where it comes from.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "src/util/env.hpp"
#include "src/util/text.hpp"
#include "tools/librt/doctor.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

std::string_view mode_name(CacheMode mode) {
  switch (mode) {
    case CacheMode::rw:
      return "rw";
    case CacheMode::ro:
      return "ro";
    case CacheMode::off:
      return "off";
    case CacheMode::only:
      return "only";
  }
  return "unknown";
}

/// What holds while a variable is not set. In parentheses: it is no value that the variable takes.
std::string or_unset(const std::string& text, std::string_view meaning = "none") {
  return text.empty() ? fmt::format("({})", meaning) : text;
}

/// As parse_size() reads it.
std::string size_words(std::uint64_t size) {
  std::string_view unit;
  for (const std::string_view larger : {"K", "M", "G"}) {
    if (size == 0 || size % 1024 != 0) break;
    size /= 1024;
    unit = larger;
  }
  return fmt::format("{}{}", size, unit);
}

/// As the environment would say it. Empty for a variable that has no member here.
std::string value_of(std::string_view variable, const Options& options) {
  if (variable == "LIBRT_CACHE_DIR") return or_unset(cache_location(options).path);
  if (variable == "LIBRT_CACHE_MODE") return std::string(mode_name(options.cache_mode));
  if (variable == "LIBRT_CACHE_RO") return or_unset(fmt::format("{}", fmt::join(options.cache_read_only, ":")));
  if (variable == "LIBRT_CACHE_MAX_SIZE") return size_words(options.cache_max_bytes);
  if (variable == "LIBRT_CACHE_TRUST") return options.cache_trust == CacheTrust::own ? "private" : "shared";
  if (variable == "LIBRT_CACHE_FSYNC") return options.cache_fsync ? "1" : "0";
  if (variable == "LIBRT_LOCK_TIMEOUT_MS") return std::to_string(options.lock_timeout_ms);
  if (variable == "LIBRT_KERNELS_DIR") return or_unset(options.kernels_dir, "those of the library");
  if (variable == "LIBRT_DEVICE") return options.device;
  if (variable == "LIBRT_NVRTC") return or_unset(options.nvrtc, "searched for");
  if (variable == "LIBRT_VIRTUAL_INSTRUCTION_LIMIT") return size_words(options.virtual_instruction_limit);
  if (variable == "LIBRT_RECORD") return or_unset(options.record);
  if (variable == "LIBRT_LOG") return std::string(name_of(options.log_level));
  return util::env(std::string(variable).c_str()).value_or("");
}

}  // namespace

std::vector<Setting> settings_in_use(const Options& options, const std::map<std::string_view, std::string>& typed) {
  std::vector<Setting> settings;
  for (const std::string_view variable : util::known_variables()) {
    Setting setting{.variable = std::string(variable), .value = value_of(variable, options)};
    const auto option = typed.find(variable);
    if (option != typed.end()) {
      setting.origin = option->second;
    } else if (util::env(setting.variable.c_str())) {
      setting.origin = "environment";
    } else {
      setting.origin = "default";
      // The default of this one comes from other variables.
      if (variable == "LIBRT_CACHE_DIR") setting.origin = cache_location(options).reason;
    }
    settings.push_back(std::move(setting));
  }
  return settings;
}

std::vector<UnknownVariable> unknown_variables() {
  // Without what all of them begin with: it would make any two of them near.
  const std::size_t prefix = std::string_view("LIBRT_").size();
  std::vector<std::string_view> known;
  for (const std::string_view variable : util::known_variables()) known.push_back(variable.substr(prefix));
  std::vector<UnknownVariable> unknown;
  for (const std::string& variable : util::unknown_variables()) {
    const std::string_view meant = util::nearest(std::string_view(variable).substr(prefix), known);
    unknown.push_back({variable, meant.empty() ? "" : fmt::format("LIBRT_{}", meant)});
  }
  return unknown;
}

}  // namespace librt::tool
