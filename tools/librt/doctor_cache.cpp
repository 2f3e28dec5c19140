// What `librt doctor` says of the cache directories.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "src/api/cache_words.hpp"
#include "src/cache/probe.hpp"
#include "tools/librt/cache_verbs.hpp"
#include "tools/librt/doctor.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

constexpr const char* kOwnDirectory =
    "set LIBRT_CACHE_DIR to a directory of your own; without one every process compiles again";

/// Throws what makes a store leave this directory alone.
void require_trust(const std::string& root, const cache::Access& access) {
  if (const auto problem = cache::store_refusal(root, access)) throw std::runtime_error(problem->reason);
}

std::string describe(const std::string& root, const Options& options) {
  Options alone = options;
  alone.cache_dir = root;
  alone.cache_read_only.clear();
  struct stat status {};
  if (stat(root.c_str(), &status) != 0) throw std::runtime_error(fmt::format("{}: {}", root, std::strerror(errno)));
  return fmt::format("{}, owner {}, mode {:04o}, {}", root, status.st_uid, status.st_mode & 07777,
                     entries_in_words(cache_list(alone).size()));
}

std::string own_cache(const CacheLocation& location, const cache::Access& access, const Options& options) {
  if (location.path.empty()) throw std::runtime_error(location.reason);
  const std::string existing = cache::nearest_existing(location.path);
  if (existing != location.path) {
    return fmt::format("{} (from {}), made in {} by the first compile", location.path, location.reason, existing);
  }
  require_trust(location.path, access);
  return fmt::format("{} (from {})", describe(location.path, options), location.reason);
}

std::string file_system(const cache::Probe& probe) {
  const std::string name = probe.file_system.empty() ? "unknown" : probe.file_system;
  if (!probe.write_problem.empty()) {
    throw std::runtime_error(fmt::format("{}: no file can be written: {}", name, probe.write_problem));
  }
  return name +
         (probe.over_network ? ", over a network: another machine may compile what was just published here" : "");
}

std::string locks(const cache::Probe& probe) {
  const std::string& problem = probe.write_problem.empty() ? probe.lock_problem : probe.write_problem;
  if (!problem.empty()) throw std::runtime_error(problem);
  return "flock keeps a second process out";
}

}  // namespace

std::vector<Finding> look_at_caches(const Options& options) {
  const cache::Access own{.trust = options.cache_trust};
  const CacheLocation location = cache_location(options);
  std::vector<Finding> findings{finding("cache", kOwnDirectory, [&] { return own_cache(location, own, options); })};
  if (findings.front().ok) {
    const cache::Probe probe = cache::probe(cache::nearest_existing(location.path));
    findings.push_back(finding("cache files", kOwnDirectory, [&] { return file_system(probe); }));
    findings.push_back(finding("cache locks",
                               "nothing is wrong with the results; processes that start together compile the same "
                               "kernel once each",
                               [&] { return locks(probe); }));
  }
  for (const std::string& directory : options.cache_read_only) {
    findings.push_back(finding("cache (ro)", "correct LIBRT_CACHE_RO, or see SECURITY.md for LIBRT_CACHE_TRUST", [&] {
      require_trust(directory, own);
      return describe(directory, options);
    }));
  }
  return findings;
}

}  // namespace librt::tool
