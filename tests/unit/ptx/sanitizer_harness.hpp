// What the tests of the sanitizers share: a kernel that does one thing wrong, and its twin that does it right.
#pragma once

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "src/ptx/sanitizer.hpp"
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {

/// Two warps, box[] of 4096 bytes of shared memory at %r1; the thread's own word of it is at %r2, that of the same lane
/// of the other warp at %r3, that of the neighbour lane at %r4; %ptr0 is 4096 bytes of zeros, %ptr1 4096 bytes that
/// nobody wrote.
struct Twins {
  Defect defect;
  std::string broken;
  std::string correct;
  std::vector<std::string> said = {};  ///< what the report of the broken one has to name
  std::uint32_t ctas = 1;
};

SanitizerReport checked(const std::string& body, std::uint32_t ctas = 1, CopyTiming timing = CopyTiming::late);

/// In all three ways in which copies arrive: the broken one has a finding of that kind, the correct one has none.
void check_twins(const Twins& twins);

}  // namespace librt::ptx::test
