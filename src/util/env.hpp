// Environment variables, read once where Options are made.
#pragma once

#include <optional>
#include <string>

namespace librt::util {

/// secure_getenv: unset for set-user-id programs. An empty value counts as unset.
std::optional<std::string> env(const char* name);

}  // namespace librt::util
