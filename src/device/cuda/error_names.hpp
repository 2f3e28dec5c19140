// Names of driver errors. Our own table, since cuGetErrorName itself fails when the driver is a stub.
#pragma once

#include <string>
#include <string_view>

#include "src/device/cuda/driver_api.hpp"

namespace librt::device::cuda {

/// "CUDA_ERROR_OUT_OF_MEMORY"; "unknown CUDA error" for a number that this version does not know.
std::string_view error_name(Result result) noexcept;

/// What a user can do about it, as a clause; empty where the name says it all.
std::string_view error_hint(Result result) noexcept;

/// Whether an error of loading code may be the code's fault. Out of memory, a lost context or a driver that is not
/// there would meet any other code too.
bool may_be_the_code(Result result) noexcept;

/// "cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)", with the hint if there is one.
std::string describe_error(std::string_view call, Result result);

}  // namespace librt::device::cuda
