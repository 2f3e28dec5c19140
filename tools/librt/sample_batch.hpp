// A small batch with a page that is not full: for `librt demo`, and to start from.
#pragma once

#include <cmath>

#include "src/reference/batch.hpp"

namespace librt::tool {

inline constexpr int kSamplePageSize = 4;
inline constexpr int kSampleTokens = 13;

/// One request whose last page holds 1 token and 3 slots that nobody wrote; four more pages belong to nobody. The same
/// values every time.
/// @param spec of pages of kSamplePageSize
inline reference::Batch sample_batch(const Spec& spec) {
  reference::Batch batch = reference::make_batch(spec, {.kv_lens = {kSampleTokens}, .seed = 941, .unowned_pages = 4});
  const int scaled = description(*spec.kind()).scaled_dim;
  batch.sm_scale = 1.0F / std::sqrt(static_cast<float>(scaled != 0 ? scaled : batch.shape.first_dim));
  return batch;
}

}  // namespace librt::tool
