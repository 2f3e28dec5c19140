#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "src/cache/store.hpp"
#include "src/util/env.hpp"

namespace librt::cache {
namespace {

Location absolute(const std::string& path, std::string reason) {
  std::error_code error;
  std::string result = std::filesystem::absolute(path, error).string();
  if (error) return {"", fmt::format("{} is {}, which cannot be made absolute: {}", reason, path, error.message())};
  while (result.size() > 1 && result.back() == '/') result.pop_back();
  return {std::move(result), std::move(reason)};
}

}  // namespace

Location locate(std::string_view option) {
  if (!option.empty()) return absolute(std::string(option), "option");
  if (const auto directory = util::env("LIBRT_CACHE_DIR")) return absolute(*directory, "LIBRT_CACHE_DIR");

  // The XDG base directory specification: a relative path is invalid and to be ignored.
  std::string ignored;
  if (const auto base = util::env("XDG_CACHE_HOME")) {
    if (base->front() == '/') return absolute(*base + "/librt", "XDG_CACHE_HOME");
    ignored = fmt::format(" (XDG_CACHE_HOME={} is ignored, since it is not an absolute path)", *base);
  }
  if (const auto home = util::env("HOME")) {
    if (home->front() == '/') return absolute(*home + "/.cache/librt", "HOME" + ignored);
    return {"", fmt::format("HOME={} is not an absolute path{}", *home, ignored)};
  }
  return {"", fmt::format("none of LIBRT_CACHE_DIR, XDG_CACHE_HOME and HOME is set{}", ignored)};
}

}  // namespace librt::cache
