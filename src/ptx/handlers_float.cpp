// The floating-point handlers for any processor of the architecture that the build is for.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find_float.inl"
}  // namespace

Handler find_float_baseline(const Form& form) {
  return find_float(form);
}

}  // namespace librt::ptx
