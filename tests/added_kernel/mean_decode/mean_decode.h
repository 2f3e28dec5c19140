// Launch parameters of mean_decode: host and device, builtin types only.
#pragma once

#include "work.h"

struct MeanDecodeParams {
  const void* v_pages;
  void* out;  // [batch, num_kv_heads, head_dim]
  const int* kv_indptr;
  const int* kv_indices;
  const int* kv_last_page_len;
  librt::PlanTables plan;
  long long page_stride, token_stride, head_stride;  // in elements
  int num_kv_heads;
  float scale;
};
