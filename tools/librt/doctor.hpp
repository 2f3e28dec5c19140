// What the parts of `librt doctor` share.
#pragma once

#include <librt/options.hpp>

#include <exception>
#include <map>
#include <string>
#include <string_view>
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
Finding finding(std::string_view name, const std::string& help, const Check& check) {
  try {
    return {std::string(name), true, check(), {}};
  } catch (const std::exception& error) {
    return {std::string(name), false, error.what(), help};
  }
}

struct Setting {
  std::string variable{};  // "LIBRT_CACHE_MODE"
  std::string value{};     // what is used, as the variable takes it; in parentheses: what it means that there is none
  std::string origin{};    // "environment", "default", the option that was typed, or another variable
};

/// One for each variable that librt reads. `typed` names the options of the command line by the variable they override.
std::vector<Setting> settings_in_use(const Options& options, const std::map<std::string_view, std::string>& typed);

struct UnknownVariable {
  std::string variable{};
  std::string meant{};  // empty = none is near
};

/// Those of the environment that begin with LIBRT_ and that nothing reads.
std::vector<UnknownVariable> unknown_variables();

/// Where it is, whose it is, its file system and its locks; then each read-only directory.
std::vector<Finding> look_at_caches(const Options& options);

}  // namespace librt::tool
