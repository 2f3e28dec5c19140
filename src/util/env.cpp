#include "src/util/env.hpp"

#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace librt::util {
namespace {

constexpr auto kKnown = std::to_array<std::string_view>(
    {"LIBRT_CACHE_DIR", "LIBRT_CACHE_FSYNC", "LIBRT_CACHE_MAX_SIZE", "LIBRT_CACHE_MODE", "LIBRT_CACHE_RO",
     "LIBRT_CACHE_TRUST", "LIBRT_DEVICE", "LIBRT_KERNELS_DIR", "LIBRT_LOCK_TIMEOUT_MS", "LIBRT_LOG", "LIBRT_NVRTC",
     "LIBRT_RECORD", "LIBRT_VIRTUAL_INSTRUCTION_LIMIT"});

}  // namespace

std::optional<std::string> env(const char* name) {
  const char* value = ::secure_getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

std::span<const std::string_view> known_variables() noexcept {
  return kKnown;
}

std::vector<std::string> unknown_variables() {
  std::vector<std::string> unknown;
  if (::getauxval(AT_SECURE) != 0) return unknown;
  for (char** each = ::environ; each != nullptr && *each != nullptr; ++each) {
    const std::string_view variable(*each);
    const std::string_view name = variable.substr(0, variable.find('='));
    if (!name.starts_with("LIBRT_") || name.starts_with("LIBRT_TEST_")) continue;
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end()) unknown.emplace_back(name);
  }
  std::sort(unknown.begin(), unknown.end());
  return unknown;
}

}  // namespace librt::util
