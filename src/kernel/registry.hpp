// The kernels that this process knows.
#pragma once

#include <string_view>
#include <vector>

#include "src/kernel/kind.hpp"

namespace librt::kernel {

/// Thread safe, without a lock. Throws Error(invalid_argument): a name that is there already, or what KernelKind
/// refuses.
const KernelKind& add(const KernelDescription& description);

/// Throws Error(invalid_argument) for a name that is not known, and names the nearest.
const KernelKind& require(std::string_view name);

/// How many there are; it only grows.
std::size_t count();

/// The files of all kernels that are not librt's own.
std::vector<KernelSource> added_sources();

/// Those that may be offered to a user.
std::vector<std::string_view> names();

}  // namespace librt::kernel
