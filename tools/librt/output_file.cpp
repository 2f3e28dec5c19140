#include "tools/librt/output_file.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "src/util/files.hpp"
#include "src/util/text.hpp"

namespace librt::tool {
namespace {

namespace fs = std::filesystem;

/// Whether `file`, which exists, lies below `directory`.
bool is_below(const fs::path& file, const std::string& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) return false;
  fs::path at = fs::canonical(file, error);
  if (error) return false;
  while (at.has_relative_path()) {
    at = at.parent_path();
    if (fs::equivalent(at, directory, error)) return true;
  }
  return false;
}

}  // namespace

bool same_file(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const auto place_of = [&](const std::string& path) { return fs::weakly_canonical(fs::absolute(path, error), error); };
  const fs::path first = place_of(a), second = place_of(b);
  return !first.empty() && first == second;
}

void require_output(std::string_view option, const std::string& path, const std::vector<std::string>& inputs) {
  if (path.empty()) throw UsageError(fmt::format("{} names no file", option));
  for (const std::string& input : inputs) {
    if (input.empty() || !(same_file(path, input) || is_below(path, input))) continue;
    throw UsageError(fmt::format("{} {} would overwrite {}, which is read", option, util::shown(path, 1024),
                                 util::shown(input, 1024)));
  }
  try {
    util::require_writable(path);
  } catch (const Error& error) {
    throw UsageError(fmt::format("{}: {}", option, error.what()));
  }
}

std::vector<std::string> files_of(const Options& options) {
  std::vector<std::string> files{options.kernels_dir, options.nvrtc, options.record};
  std::vector<std::string> caches = options.cache_read_only;
  caches.push_back(cache_location(options).path);
  for (const std::string& cache : caches) {
    if (!cache.empty()) files.push_back(cache + "/v1");  // what else is in the directory is not the cache's
  }
  return files;
}

}  // namespace librt::tool
