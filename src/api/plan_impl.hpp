// What a Plan holds, and how its limits lay out the workspace.
#pragma once

#include <librt/kernel.hpp>
#include <librt/kernel_kind.hpp>
#include <librt/spec.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace librt::detail {

/// Offsets from the start of the workspace, each aligned to 256 bytes; the header comes first. The tables are one
/// upload, of which the entries that no block looks at are left out: the items stand at their end.
struct WorkspaceLayout {
  std::size_t merge_requests = 0;
  std::size_t merge_indptr = 0;
  std::size_t items = 0;
  std::size_t partial_stats = 0;
  std::size_t partial_out = 0;
  std::size_t total_bytes = 0;
};

/// What the limits come to for a spec: all that a launch depends on.
struct PlanFrame {
  PlanLimits limits;   // max_batch, max_qo_rows and max_items are set
  int max_merges = 0;  // requests that may be split; 0: no merge is launched
  WorkspaceLayout layout;
  std::uint64_t mark = 0;  // of the spec and of all this
};

struct PlanImpl {
  Spec spec;
  PlanFrame frame;
  int batch = 0;
  int split_pages = 0;
  int num_work_items = 0;
  int num_split_requests = 0;
  std::vector<std::byte> tables;  // the first bytes of the workspace
};

}  // namespace librt::detail

namespace librt::api {

/// What plans depend on besides the limits.
struct PlanDevice {
  int resident_blocks = 1;  // of the decode kernel, on the whole device
  Arch arch{};              // of the code that will be launched
  bool may_split = true;    // false: no kernel would join the parts
};

/// A grid has at most so many blocks along the work items, and the table of items an entry for each.
inline constexpr int kMostItemBlocks = 2048;

/// Pure host arithmetic, as make_plan(). Both throw Error(invalid_argument).
/// @param limits with a max_batch
detail::PlanFrame make_frame(const Spec& spec, const PlanLimits& limits, const PlanDevice& device);
detail::PlanImpl make_plan(const Spec& spec, const PlanBatch& batch, const PlanLimits& limits,
                           const PlanDevice& device);

}  // namespace librt::api
