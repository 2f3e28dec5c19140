// The tool run as a process, with an environment of its own.
#pragma once

#include <nlohmann/json.hpp>

#include <map>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"

namespace librt::test {

struct Finished {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out;
  std::string err;

  /// All of stdout as one JSON value; throws if it is not.
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

using Variables = std::map<std::string, std::string>;

/// This process's environment without LIBRT_* (but LIBRT_NVRTC), plus `variables`: "NAME=value".
std::vector<std::string> environment_with(const Variables& variables);

/// Runs a program to its end in environment_with(variables).
Finished run_process(const std::string& program, const std::vector<std::string>& arguments, const Variables& variables);

/// A cache directory and the tool on it.
class Tool {
 public:
  /// @param cache empty: one of its own, that is gone with it
  explicit Tool(std::string cache = {}) : cache_(cache.empty() ? directory_ / "cache" : std::move(cache)) {}

  Finished operator()(const std::vector<std::string>& arguments, Variables variables = {}) const {
    variables.emplace("LIBRT_CACHE_DIR", cache());
    return run_process(LIBRT_TOOL, arguments, variables);
  }
  const std::string& cache() const { return cache_; }
  std::string file(const std::string& name) const { return directory_ / name; }

 private:
  TempDir directory_;
  std::string cache_;
};

/// Of all tests that only need compiled kernels: the cache is the build folder's, so that each is compiled once.
const Tool& shared_tool();

std::string read_text(const std::string& path);
void write_text(const std::string& path, const std::string& text);

}  // namespace librt::test
