// A virtual device over a memory of the caller's, whose launches the caller executes: this is how instruments come
// between a Kernel and the PTX machine.
#pragma once

#include <librt/types.hpp>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "src/device/device.hpp"
#include "src/ptx/machine.hpp"

namespace librt::device {

/// Called in place of ptx::launch, by one thread at a time for each device.
using Launcher = std::function<void(const ptx::Module& module, ptx::Memory& memory, std::string_view entry,
                                    std::span<const std::byte> params, const ptx::LaunchOptions& options)>;

/// As open_virtual_device(arch, threads). The caller may look into `memory` between the calls of the device.
/// @param num_sms that it poses as having; 0 = as the architecture's best-known GPU
std::shared_ptr<Device> open_virtual_device(const Arch& arch, unsigned threads, std::shared_ptr<ptx::Memory> memory,
                                            Launcher launcher, int num_sms = 0,
                                            std::uint64_t most_warp_instructions = std::uint64_t{1} << 40);

}  // namespace librt::device
