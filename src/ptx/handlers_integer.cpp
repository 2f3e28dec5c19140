// The integer handlers for any processor of the architecture that the build is for.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find_integer.inl"
}  // namespace

Handler find_integer_baseline(const Form& form) {
  return find_integer(form);
}

}  // namespace librt::ptx
