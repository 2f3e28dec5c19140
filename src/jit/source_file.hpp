// One kernel source.
#pragma once

#include <string>

namespace librt::jit {

struct SourceFile {
  std::string name;  // relative to kernels/: "NAME/NAME.cuh", "device/mask.cuh"
  std::string text;
};

}  // namespace librt::jit
