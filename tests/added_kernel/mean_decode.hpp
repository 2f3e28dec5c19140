// The description of a kernel that is none of librt's, written as a user would: with the public headers alone.
#pragma once

#include <librt/librt.hpp>

namespace librt::test {

const KernelDescription& mean_decode();

}  // namespace librt::test
