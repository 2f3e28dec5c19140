#include "src/util/env.hpp"

#include <cstdlib>

namespace librt::util {

std::optional<std::string> env(const char* name) {
  const char* value = ::secure_getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::string(value);
}

}  // namespace librt::util
