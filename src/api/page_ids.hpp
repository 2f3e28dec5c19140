// Are the page ids of a batch below num_pages? Only where the host can read device memory: on the virtual device.
#pragma once

#include <cstdint>

#include "src/api/plan_impl.hpp"
#include "src/device/device.hpp"

namespace librt::api {

/// The page table of a launch, on the device.
struct PageTable {
  const std::int32_t* kv_indptr;
  const std::int32_t* kv_indices;
  const std::int32_t* kv_last_page_len;
  std::int64_t num_pages;
};

/// Looks at the ids that the kernel will read: of the pages that the plan covers, those that the request has now and
/// that hold a token. Throws Error(invalid_argument) naming the request, the position, the id and num_pages. What
/// cannot be read is left to the kernel, whose report says where.
void check_page_ids(device::Device& device, const detail::PlanImpl& plan, const PageTable& table);

}  // namespace librt::api
