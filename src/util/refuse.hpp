// The error for what a caller must not ask for.
#pragma once

#include <librt/error.hpp>

#include <string>

namespace librt::util {

[[noreturn]] inline void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

}  // namespace librt::util
