// What a Plan holds, and how launch() lays out the workspace.
#pragma once

#include <librt/kernel.hpp>
#include <librt/spec.hpp>

#include <cstddef>
#include <span>
#include <vector>

namespace librt::detail {

/// Offsets from the start of the workspace, each aligned to 256 bytes. The tables come first and are one upload.
struct WorkspaceLayout {
  std::size_t work_items = 0;
  std::size_t merge_requests = 0;
  std::size_t merge_indptr = 0;
  std::size_t table_bytes = 0;
  std::size_t partial_stats = 0;
  std::size_t partial_out = 0;
  std::size_t total_bytes = 0;
};

struct PlanImpl {
  Spec spec;
  int batch = 0;
  int split_pages = 0;
  int num_work_items = 0;
  int num_split_requests = 0;
  bool owns_pages = false;  // some request has a page, so kv_indices and the pages will be read
  WorkspaceLayout layout;
  std::vector<std::byte> tables;  // the first layout.table_bytes bytes of the workspace
};

}  // namespace librt::detail

namespace librt::api {

struct PlanInputs {
  std::span<const std::int32_t> kv_indptr;
  std::span<const std::int32_t> kv_last_page_len;
  int split_pages = 0;      // 0 = choose
  int resident_blocks = 1;  // of the decode kernel, on the whole device
  Arch arch{};              // of the code that will be launched
  bool may_split = true;    // false: no kernel would join the parts
};

/// Pure host arithmetic. Throws Error(invalid_argument).
detail::PlanImpl make_plan(const Spec& spec, const PlanInputs& inputs);

}  // namespace librt::api
