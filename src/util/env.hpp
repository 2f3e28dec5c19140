// Environment variables, read once where Options are made.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace librt::util {

/// secure_getenv: unset for set-user-id programs. An empty value counts as unset.
std::optional<std::string> env(const char* name);

/// The names of the variables that librt reads, sorted.
std::span<const std::string_view> known_variables() noexcept;

/// Variables of the environment whose names begin with LIBRT_ and that no part of librt reads: a slip of the pen would
/// be silent otherwise. LIBRT_TEST_* is the test suite's. Empty for set-user-id programs, which read none.
std::vector<std::string> unknown_variables();

}  // namespace librt::util
