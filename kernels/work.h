// How work is handed to blocks, and what comes back from a part of a request: host and device, so builtin types only.
//
// A kernel takes exactly one struct of parameters by value as `const __grid_constant__`; each kernel's stands in its
// own folder. Any change in these headers changes the key of every cached cubin that includes them, as it must.
#pragma once

namespace librt {

/// One unit of split-KV work: the pages [page_begin, page_end) of one request, counted from the request's first page.
/// The host plan writes them, the last one of a request with an open end; the kernel clips page_end to the pages that
/// the request has when it runs.
struct WorkItem {
  int request;
  int page_begin;
  int page_end;
  int partial_slot;  // row of the partial buffers, or -1: the request has one item, which writes out and lse itself
};

/// What a partial row weighs in the merge: `sum` is relative to e^max. Their LSE would not do: where logits are large,
/// fp32 has no digits left in it for the sum.
struct alignas(8) PartialStats {
  float max;  // -inf: the part has no position at all, and its row is not looked at
  float sum;
};

/// Stands at the start of a staged workspace.
struct PlanHeader {
  unsigned long long mark;  // of the spec and the limits that the plan was made for
  int num_items;
  int num_merges;  // requests that were split
};

/// Where a launch finds its plan. Device pointers into the workspace; they depend on the limits alone, so that a
/// captured launch is right for whatever plan is staged next.
struct PlanTables {
  unsigned long long mark;  // of the launch; with another one in the header there is no plan for it
  const PlanHeader* header;
  const WorkItem* items;        // [header->num_items], and an entry for each block along the grid's x dimension
  const int* merge_requests;    // [header->num_merges]
  const int* merge_indptr;      // [header->num_merges + 1]: slots merge_indptr[i] .. merge_indptr[i + 1] - 1 belong to
                                // merge_requests[i]
  float* partial_out;           // [slots, heads, head_dim]
  PartialStats* partial_stats;  // [slots, heads]
  int batch;                    // requests whose rows become NaN if there is no plan
};

/// What a block and a merge cost besides the tokens, as the number of tokens that a block reads in that time. These are
/// estimates from a model of bandwidth and latency, not measurements.
struct SplitCosts {
  int per_item;
  int per_merge;
};

}  // namespace librt
