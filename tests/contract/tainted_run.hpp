// Decodes a batch on the PTX machine with every byte of padding labelled and with the sanitizers on, and tells where
// labels arrive and what the kernels did wrong.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <vector>

#include "src/ptx/instrumented.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {

/// Label 0: valid for no request. Label r + 1: not valid for request r; so batches have at most 7 requests.
constexpr ptx::Labels kPadding = 1;
constexpr ptx::Labels padding_of(int request) {
  return static_cast<ptx::Labels>(2u << request);
}

struct TaintedRun {
  std::vector<ptx::Labels> out{}, lse{};  ///< of each request: all labels of its bytes
  std::vector<ptx::TaintFinding> findings;
  std::vector<ptx::SanitizerFinding> defects;
  Result result;
};

/// Labels the KV cache with its gaps, the page table and last_page_len by who may read them, and outputs and partial
/// results as padding until they are written.
/// @param split_pages pages of a work item; 0 = each request is one item
TaintedRun run_tainted(Runtime& runtime, const Batch& batch, int split_pages = 0,
                       ptx::CopyTiming copy_timing = ptx::CopyTiming::late);

/// Empty if no output has a label that its request must not have, and there is no finding; else the first complaint.
std::string taint_complaint(const TaintedRun& run);

}  // namespace librt::test
