// What Options may not hold, however they were made.
#pragma once

#include <librt/options.hpp>

namespace librt::api {

/// The options as they are. Throws Error(invalid_argument) for a value that is none of its enum's.
Options checked(Options options);

}  // namespace librt::api
