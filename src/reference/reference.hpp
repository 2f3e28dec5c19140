// Decode attention in double precision, reading valid positions only.
#pragma once

#include <span>
#include <vector>

#include "src/reference/batch.hpp"

namespace librt::reference {

/// One head of one request in a paged tensor. The only way in which the reference reads the KV cache.
class ValidRows {
 public:
  ValidRows(const PagedStore& store, std::span<const std::int32_t> pages, int kv_len, int head)
      : store_(&store), pages_(pages), kv_len_(kv_len), head_(head) {}

  int size() const { return kv_len_; }
  /// Throws std::out_of_range when asked for a padding position or for a page outside the pool.
  std::span<const Bits> at(int position) const;

 private:
  const PagedStore* store_;
  std::span<const std::int32_t> pages_;
  int kv_len_;
  int head_;
};

struct Expected {
  std::vector<double> out;  ///< [batch, qo_heads, out_dim]
  std::vector<double> lse;  ///< [batch, qo_heads], natural log
};

/// IEEE arithmetic: a NaN logit makes the row and its LSE NaN, a logit of +inf too (inf - inf), a logit of -inf has
/// weight 0; NaN and Inf in V follow from the sum of weight * value. A row without a logit above -inf is empty: its
/// weights are 0 and its LSE is -inf.
Expected expected_of(const Batch& batch);

/// The weight of every position in the row's output: softmax in double precision.
std::vector<double> softmax_weights(const Batch& batch, int request, int qo_head);

}  // namespace librt::reference
