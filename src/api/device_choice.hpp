// The text of Options::device.
#pragma once

#include <librt/options.hpp>
#include <librt/types.hpp>

#include <memory>
#include <string_view>
#include <vector>

#include "src/device/device.hpp"

namespace librt::api {

struct DeviceChoice {
  bool is_virtual = false;
  int ordinal = 0;  // of a GPU
  Arch arch;        // of the virtual device
};

/// "cuda:N", "virtual" or "virtual:sm_XX". Throws Error(invalid_argument).
DeviceChoice parse_device(std::string_view text);

std::shared_ptr<device::Device> open_device(const DeviceChoice& choice, const Options& options);

/// What Runtime::get compiles for: PTX alone is half the compile time, and all that the virtual device needs.
Arch compile_arch(const device::Properties& properties);

/// What else runs on the device, the best first, compile_arch() itself at the front: the plain code of the same GPU,
/// its family's, and PTX of any earlier one, which the driver finishes.
std::vector<Arch> runnable_archs(const device::Properties& properties);

}  // namespace librt::api
