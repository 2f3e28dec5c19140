// Batches with prescribed logits.
#pragma once

#include <cmath>

#include "tests/support/reference.hpp"

namespace librt::test {

/// The dimension through which set_logits works. For MLA one of kpe, which is no part of the value.
inline int logit_dim(const Batch& batch) {
  return batch.shape.is_mla ? batch.shape.first_dim : 0;
}

/// Gives every position of the request the logit `logit(position)`, as exactly as the type allows, for every head: the
/// query is zero but for one dimension. That dimension's logits are products of two numbers, so that fp32 sums are
/// exact.
template <class Logit>
void set_logits(Batch& batch, int request, const Logit& logit) {
  const int dim = logit_dim(batch);
  double largest = 1;
  for (int position = 0; position < batch.kv_len(request); ++position) {
    const double wanted = std::fabs(logit(position));
    if (std::isfinite(wanted)) largest = std::fmax(largest, wanted);
  }
  const double query = std::exp2(std::floor(std::log2(largest / static_cast<double>(batch.sm_scale)) / 2));
  const int num_dims = batch.shape.first_dim + batch.shape.q_pe_dim();
  for (int head = 0; head < batch.shape.qo_heads; ++head) {
    for (int d = 0; d < num_dims; ++d) batch.query(request, head, d) = batch.bits(d == dim ? query : 0);
  }
  for (int position = 0; position < batch.kv_len(request); ++position) {
    const double key = logit(position) / (static_cast<double>(batch.sm_scale) * query);
    for (int head = 0; head < batch.shape.kv_heads; ++head) batch.key(request, position, head, dim) = batch.bits(key);
  }
}

}  // namespace librt::test
