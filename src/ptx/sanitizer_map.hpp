// The history of the bytes behind a SanitizerMap.
#pragma once

#include "src/ptx/memory.hpp"
#include "src/ptx/sanitizer.hpp"

namespace librt::ptx {

struct SanitizerMap::Impl {
  explicit Impl(Memory& memory_of_map) : memory(&memory_of_map) {}

  Memory* memory;
};

}  // namespace librt::ptx
