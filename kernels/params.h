// Launch parameters of every kernel: what g++ writes and what NVRTC's code reads, so builtin types only.
//
// Pointers are device pointers. Strides count elements of the tensor, not bytes. A kernel takes exactly one of these
// structs by value as `const __grid_constant__`. Any change here changes the key of every cached cubin, as it must.
#pragma once

namespace librt {

/// One unit of split-KV work: the pages [page_begin, page_end) of one request, counted from the request's first page.
/// The host plan writes them; the kernel clips page_end to the pages that the request has when it runs.
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

struct GqaDecodeParams {
  const void* q;  // [batch, num_qo_heads, head_dim], dense
  const void* k_pages;
  const void* v_pages;
  void* out;                    // as q
  float* lse;                   // [batch, num_qo_heads], natural log; may be null
  const int* kv_indptr;         // [batch + 1]
  const int* kv_indices;        // [>= kv_indptr[batch]]
  const int* kv_last_page_len;  // [batch]
  const WorkItem* work_items;   // [gridDim.x]
  float* partial_out;           // [slots, num_qo_heads, head_dim]
  PartialStats* partial_stats;  // [slots, num_qo_heads]
  long long k_page_stride, k_token_stride, k_head_stride;
  long long v_page_stride, v_token_stride, v_head_stride;
  int num_qo_heads;
  int num_kv_heads;
  float sm_scale;
};

struct MlaDecodeParams {
  const void* q_nope;  // [batch, num_heads, head_dim_ckv], dense
  const void* q_pe;    // [batch, num_heads, head_dim_kpe], dense
  const void* ckv_pages;
  const void* kpe_pages;
  void* out;   // as q_nope
  float* lse;  // [batch, num_heads], natural log; may be null
  const int* kv_indptr;
  const int* kv_indices;
  const int* kv_last_page_len;
  const WorkItem* work_items;
  float* partial_out;           // [slots, num_heads, head_dim_ckv]
  PartialStats* partial_stats;  // [slots, num_heads]
  long long ckv_page_stride, ckv_token_stride;
  long long kpe_page_stride, kpe_token_stride;
  int num_heads;
  float sm_scale;
};

/// merge_states: combines the partial rows of each request that was split; the other requests' rows are not touched.
struct MergeParams {
  const float* partial_out;           // [slots, num_heads, head_dim]
  const PartialStats* partial_stats;  // [slots, num_heads]
  const int* merge_requests;          // [gridDim.y]: the requests that were split
  const int* merge_indptr;  // [gridDim.y + 1]: slots [merge_indptr[i], merge_indptr[i + 1]) belong to merge_requests[i]
  void* out;                // [batch, num_heads, head_dim]
  float* lse;               // [batch, num_heads]; may be null
  int num_heads;
};

}  // namespace librt
