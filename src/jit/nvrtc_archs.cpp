#include "src/jit/nvrtc_archs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace librt::jit {
namespace {

struct Version {
  int major = 0;
  int minor = 0;
  auto operator<=>(const Version&) const = default;
};

struct Known {
  int sm = 0;
  Version since{};
  Version until{};               // 0.0 = to this day
  std::string_view successor{};  // its name from then on
};

// From the release notes of the PTX ISA; what NVRTC 12.0 knows already, every version that librt takes knows.
constexpr std::array<Known, 7> kKnown = {{
    {88, {13, 0}},
    {100, {12, 8}},
    {101, {12, 8}, {12, 9}, "sm_110"},
    {103, {12, 9}},
    {110, {13, 0}},
    {120, {12, 8}},
    {121, {12, 9}},
}};
constexpr Version kFamilies{12, 9};  // the suffix f

}  // namespace

std::string nvrtc_that_knows(const Arch& arch, int major, int minor) {
  const Version here{major, minor};
  const auto* const known =
      std::find_if(kKnown.begin(), kKnown.end(), [&](const Known& one) { return one.sm == arch.sm; });
  if (known == kKnown.end()) return "a newer NVRTC may know it";
  const Version since = arch.suffix == 'f' ? std::max(known->since, kFamilies) : known->since;
  if (here < since) return fmt::format("NVRTC {}.{} and newer know it", since.major, since.minor);
  if (known->until != Version{} && here > known->until) {
    return fmt::format("NVRTC {}.{} to {}.{} know it; since then it is {}", since.major, since.minor,
                       known->until.major, known->until.minor, known->successor);
  }
  return "a newer NVRTC may know it";
}

}  // namespace librt::jit
