// What the virtual device claims to be when it poses as an architecture.
#pragma once

#include <librt/types.hpp>

namespace librt::device::virtual_device {

/// Multiprocessors of a well-known GPU of this architecture. It steers the planner only, and is fixed so that the same
/// batch gets the same plan, and so the same bits, on every host.
int posed_num_sms(const Arch& arch) noexcept;

/// Most shared memory that a block of this architecture may use, bytes.
int posed_shared_bytes_per_block(const Arch& arch) noexcept;

}  // namespace librt::device::virtual_device
