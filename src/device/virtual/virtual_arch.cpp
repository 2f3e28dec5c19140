#include "src/device/virtual/virtual_arch.hpp"

#include <algorithm>
#include <array>

namespace librt::device::virtual_device {

namespace {

struct KnownGpu {
  int sm;
  int num_sms;
};

// An architecture between two lines takes the earlier one.
constexpr auto kKnownGpus = std::to_array<KnownGpu>({
    {80, 108},   // A100
    {86, 84},    // RTX A6000
    {89, 142},   // L40S
    {90, 132},   // H100 SXM, H200
    {100, 148},  // B200
    {120, 170},  // RTX 5090
});

constexpr int kSmallClass = 99 * 1024;
constexpr int kAmpereClass = 163 * 1024;
constexpr int kHopperClass = 227 * 1024;

}  // namespace

int posed_num_sms(const Arch& arch) noexcept {
  const auto next = std::ranges::upper_bound(kKnownGpus, arch.sm, {}, &KnownGpu::sm);
  return next == kKnownGpus.begin() ? next->num_sms : std::prev(next)->num_sms;
}

int posed_shared_bytes_per_block(const Arch& arch) noexcept {
  if (arch.sm == 80 || arch.sm == 87) return kAmpereClass;
  if (arch.sm >= 90 && arch.sm < 120) return kHopperClass;
  return kSmallClass;
}

}  // namespace librt::device::virtual_device
