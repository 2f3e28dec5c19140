// One line of `librt doctor`.
#pragma once

#include <librt/options.hpp>

#include <exception>
#include <string>
#include <vector>

namespace librt::tool {

struct Finding {
  std::string name;
  bool ok = false;
  std::string found;  // what there is, or why there is nothing
  std::string help;   // empty when ok
};

/// Runs a check that returns what it found; an exception becomes a finding that is not ok.
template <class Check>
Finding finding(const std::string& name, const std::string& help, const Check& check) {
  try {
    return {name, true, check(), {}};
  } catch (const std::exception& error) {
    return {name, false, error.what(), help};
  }
}

/// Where it is, whose it is, its file system and its locks; then each read-only directory.
std::vector<Finding> look_at_caches(const Options& options);

}  // namespace librt::tool
