// Everything that was included before this was declared for the baseline; only what follows may use AVX2 and FMA. On
// other architectures both sets are the same.
#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#endif
