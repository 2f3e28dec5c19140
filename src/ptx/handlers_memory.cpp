// The memory, exchange and matrix handlers for any processor of the architecture that the build is for.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find_memory.inl"
}  // namespace

Handler find_memory_baseline(const Form& form) {
  return find_memory(form);
}

}  // namespace librt::ptx
