#include <librt/error.hpp>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "src/cache/store.hpp"
#include "src/util/env.hpp"

namespace librt::cache {
namespace {

std::string without_last_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// Of a directory, or of the nearest one above it that is there. Nothing where nobody may look.
std::optional<uid_t> owner_of(std::string path) {
  struct stat status {};
  while (::stat(path.c_str(), &status) != 0) {
    const std::size_t slash = path.find_last_of('/');
    if (errno != ENOENT || slash == std::string::npos) return std::nullopt;
    path.resize(slash == 0 ? 1 : slash);
  }
  return status.st_uid;
}

/// The default below a directory of the environment. Where that is somebody else's (HOME of the user who called sudo),
/// what is made there could be neither used nor removed by its owner.
Location default_below(const std::string& name, const std::string& base, const char* more, const std::string& ignored) {
  const std::optional<uid_t> owner = owner_of(base);
  if (owner && *owner != ::geteuid() && *owner != 0) {
    return {"", fmt::format("{}={} belongs to user {}, and this process runs as user {}, which makes nothing there{}",
                            name, base, *owner, ::geteuid(), ignored)};
  }
  return {base.find_first_not_of('/') == std::string::npos ? more : without_last_slashes(base) + more, name + ignored};
}

}  // namespace

void require_absolute(std::string_view name, std::string_view path) {
  // The system would take what stands before a NUL, which is another directory.
  if (const std::size_t at = path.find('\0'); at != path.npos) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} has a NUL behind \"{}\"; no path has one", name, path.substr(0, at)));
  }
  if (path.starts_with('/')) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}={} is not allowed; allowed: an absolute path{}", name, path,
                          path.starts_with('~') ? " (only a shell knows what ~ is: write the directory out)" : ""));
}

Location locate(const std::string& option) {
  if (!option.empty()) {
    require_absolute("cache_dir", option);
    return {without_last_slashes(option),
            util::env("LIBRT_CACHE_DIR") == option ? "LIBRT_CACHE_DIR" : "option"};  // the same directory by two names
  }
  // The XDG base directory specification: a relative path is invalid and to be ignored.
  std::string ignored;
  if (const auto base = util::env("XDG_CACHE_HOME")) {
    if (base->starts_with('/')) return default_below("XDG_CACHE_HOME", *base, "/librt", "");
    ignored = fmt::format(" (XDG_CACHE_HOME={} is ignored, since it is not an absolute path)", *base);
  }
  if (const auto home = util::env("HOME")) {
    if (home->starts_with('/')) return default_below("HOME", *home, "/.cache/librt", ignored);
    return {"", fmt::format("HOME={} is not an absolute path{}", *home, ignored)};
  }
  return {"", fmt::format("none of LIBRT_CACHE_DIR, XDG_CACHE_HOME and HOME is set{}", ignored)};
}

}  // namespace librt::cache
