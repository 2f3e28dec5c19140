// Makes malloc and pthread_create of this program fail.
#pragma once

namespace librt::test {

/// The n-th allocation from now on fails, once; 0 = none does. Counts those of all libraries.
void fail_allocation(long nth) noexcept;
/// Allocations since then.
long allocations() noexcept;

/// How many threads can still be made; negative = as many as the machine allows.
void allow_threads(int count) noexcept;
/// How many were refused since then.
int refused_threads() noexcept;

}  // namespace librt::test
