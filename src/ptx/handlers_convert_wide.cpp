// The conversion handlers for processors with AVX2 and FMA.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

// clang-format off
#include "src/ptx/handlers/wide_begin.inl"  // after all that must stay baseline
// clang-format on

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find_convert.inl"
}  // namespace

Handler find_convert_wide(const Form& form) {
  return find_convert(form);
}

}  // namespace librt::ptx

#include "src/ptx/handlers/wide_end.inl"
