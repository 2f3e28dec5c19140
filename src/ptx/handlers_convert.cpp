// The conversion handlers for any processor of the architecture that the build is for.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find_convert.inl"
}  // namespace

Handler find_convert_baseline(const Form& form) {
  return find_convert(form);
}

}  // namespace librt::ptx
