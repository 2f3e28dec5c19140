// The handlers for any processor of the architecture that the build is for.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find.inl"
}  // namespace

Handler find_baseline(const Form& form) {
  return find(form);
}

}  // namespace librt::ptx
