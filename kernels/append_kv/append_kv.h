// Launch parameters of append_kv: host and device, builtin types only.
// Pointers are device pointers. Strides count elements of the tensor, not bytes.
#pragma once

namespace librt {

/// A tensor of new rows and the paged tensor that they go to.
struct AppendKvPart {
  const void* rows;  // [total_new, num_kv_heads, dim]
  void* pages;
  long long row_stride, row_head_stride;
  long long page_stride, token_stride, head_stride;
};

struct AppendKvParams {
  AppendKvPart k;
  AppendKvPart v;
  const int* append_indptr;     // [batch + 1]: rows append_indptr[b] .. append_indptr[b + 1] - 1 are request b's
  const int* append_positions;  // [total_new], in the row's request
  const int* kv_indptr;         // [batch + 1]
  const int* kv_indices;        // [>= kv_indptr[batch]]
  int batch;
  int total_new;
  int num_pages;
  int num_kv_heads;
};

}  // namespace librt

namespace librt::tiles {

constexpr int append_threads() {
  return 128;
}

}  // namespace librt::tiles
