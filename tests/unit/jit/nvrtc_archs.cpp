#include "src/jit/nvrtc_archs.hpp"

#include <catch2/catch.hpp>

using librt::parse_arch;
using librt::jit::nvrtc_that_knows;

TEST_CASE("nvrtc archs: which version knows what this one does not", "[jit]") {
  CHECK(nvrtc_that_knows(parse_arch("sm_100a"), 12, 4) == "NVRTC 12.8 and newer know it");
  CHECK(nvrtc_that_knows(parse_arch("compute_120"), 12, 6) == "NVRTC 12.8 and newer know it");
  CHECK(nvrtc_that_knows(parse_arch("sm_103"), 12, 8) == "NVRTC 12.9 and newer know it");
  CHECK(nvrtc_that_knows(parse_arch("sm_121"), 12, 8) == "NVRTC 12.9 and newer know it");
  CHECK(nvrtc_that_knows(parse_arch("sm_100f"), 12, 8) == "NVRTC 12.9 and newer know it");
  CHECK(nvrtc_that_knows(parse_arch("sm_110"), 12, 9) == "NVRTC 13.0 and newer know it");
  CHECK(nvrtc_that_knows(parse_arch("sm_101a"), 13, 0) == "NVRTC 12.8 to 12.9 know it; since then it is sm_110");
  // What no release notes tell of is not made up.
  CHECK(nvrtc_that_knows(parse_arch("sm_130"), 13, 0) == "a newer NVRTC may know it");
  CHECK(nvrtc_that_knows(parse_arch("sm_121"), 13, 0) == "a newer NVRTC may know it");
}
