// The handlers for processors with AVX2 and FMA; on other architectures both sets are the same.
#include <type_traits>

#include "src/ptx/handlers.hpp"
#include "src/ptx/warp.hpp"

// Everything that was included before this was declared for the baseline; only what follows may use AVX2 and FMA.
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#endif

namespace librt::ptx {
namespace {
#include "src/ptx/handlers/find.inl"
}  // namespace

Handler find_wide(const Form& form) {
  return find(form);
}

}  // namespace librt::ptx

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
