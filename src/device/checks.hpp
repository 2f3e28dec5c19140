// Checks that every device makes the same way, so that a mistake gets the same message on each.
#pragma once

#include <librt/artifact.hpp>

#include <cstddef>
#include <span>

#include "src/device/device.hpp"

namespace librt::device {

/// Throws Error: invalid_argument for an impossible artifact, unsupported if the device has too little shared memory.
void check_artifact(const Artifact& artifact, const Properties& properties);

/// Throws Error(invalid_argument) naming the dimension, its value and what is allowed. Allocates only when it throws.
void check_grid(const Grid& grid);

}  // namespace librt::device
