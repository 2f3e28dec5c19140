// Decodes a batch on the PTX machine with every byte of padding labelled and with the sanitizers on, and tells where
// labels arrive and what the kernels did wrong.
#pragma once

#include <librt/librt.hpp>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/contract/machine.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {

/// The decode and the merge of one spec for sm_80, each compiled when it is first asked for.
class MachineKernels {
 public:
  /// @param runtime must outlive this
  MachineKernels(Runtime& runtime, Spec spec) : runtime_(&runtime), spec_(std::move(spec)) {}
  const MachineKernel& decode();
  const MachineKernel& merge();

 private:
  Runtime* runtime_;
  Spec spec_;
  std::optional<MachineKernel> decode_, merge_;
};

struct RunOptions {
  MachineOptions machine{};
  int split_pages = 0;               ///< pages of a work item; 0 = each request is one item
  std::vector<int> planned_pages{};  ///< of each request, as the plan believed; empty = the batch's own
  bool is_staged = true;             ///< false: the workspace holds a plan of other limits
  int first_page_id = 0;             ///< added to every page id, with the stores as far below
};

struct TaintedRun {
  std::vector<ptx::Labels> out{}, lse{};  ///< of each request: all labels of its bytes
  std::vector<ptx::TaintFinding> findings;
  std::vector<ptx::SanitizerFinding> defects;
  bool completed = true;  ///< false: the last of `defects` ended a launch
  Result result;
};

/// Labels the KV cache with its gaps, the page table and last_page_len by who may read them, and outputs and partial
/// results as padding until they are written.
TaintedRun run_on_machine(MachineKernels& kernels, const Batch& batch, const RunOptions& options = {});

/// The same with a runtime's kernels, under labels and sanitizers.
TaintedRun run_tainted(Runtime& runtime, const Batch& batch, int split_pages = 0,
                       ptx::CopyTiming copy_timing = ptx::CopyTiming::late);

/// Empty if no output has a label that its request must not have, and there is no finding; else the first complaint.
std::string taint_complaint(const TaintedRun& run);

}  // namespace librt::test
