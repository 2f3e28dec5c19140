// Which versions of NVRTC know an architecture.
#pragma once

#include <librt/types.hpp>

#include <string>

namespace librt::jit {

/// For an architecture that NVRTC `major`.`minor` does not know: which version does, in words; a newer one where librt
/// does not know either.
std::string nvrtc_that_knows(const Arch& arch, int major, int minor);

}  // namespace librt::jit
