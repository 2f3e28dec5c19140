#include "src/api/page_ids.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/work.h"

namespace librt::api {
namespace {

std::vector<std::int32_t> read(device::Device& device, const std::int32_t* from, std::size_t count) {
  std::vector<std::int32_t> values(count);
  device.download(std::as_writable_bytes(std::span(values)), reinterpret_cast<std::uintptr_t>(from));
  return values;
}

/// As kv_extent() in kernels/device/mask.cuh: pages of which the kernel reads a token.
std::int64_t pages_with_tokens(std::int32_t begin, std::int32_t end, std::int32_t last_page_len) {
  const std::int64_t owned = std::int64_t{end} - begin;
  return owned > 0 && last_page_len <= 0 ? owned - 1 : owned;
}

void check_items(device::Device& device, std::span<const WorkItem> items, int batch, const PageTable& table) {
  const auto rows = static_cast<std::size_t>(batch);
  const auto indptr = read(device, table.kv_indptr, rows + 1);
  const auto last = read(device, table.kv_last_page_len, rows);
  for (const WorkItem& item : items) {
    const auto b = static_cast<std::size_t>(item.request);
    const std::int64_t end =
        std::min<std::int64_t>(item.page_end, pages_with_tokens(indptr[b], indptr[b + 1], last[b]));
    if (end <= item.page_begin) continue;
    const std::int64_t first = std::int64_t{indptr[b]} + item.page_begin;
    const auto ids = read(device, table.kv_indices + first, static_cast<std::size_t>(end - item.page_begin));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0 && ids[i] < table.num_pages) continue;
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("request {}: page {} of it, kv_indices[{}], is {}; allowed: 0..{} (num_pages - 1)",
                              item.request, item.page_begin + static_cast<std::int64_t>(i),
                              first + static_cast<std::int64_t>(i), ids[i], table.num_pages - 1));
    }
  }
}

}  // namespace

void check_page_ids(device::Device& device, const detail::PlanImpl& plan, const PageTable& table) {
  std::vector<WorkItem> items(static_cast<std::size_t>(plan.num_work_items));
  std::memcpy(items.data(), plan.tables.data() + plan.frame.layout.items, items.size() * sizeof(WorkItem));
  try {
    check_items(device, items, plan.batch, table);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) throw;
  }
}

}  // namespace librt::api
