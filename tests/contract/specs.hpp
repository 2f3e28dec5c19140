// The small specs that the contract tests share: with few heads a launch is quick, and as the number of heads does not
// reach the compiler, tests share kernels too.
#pragma once

#include <librt/spec.hpp>

#include <vector>

namespace librt::test {

inline Spec gqa(int page_size, DType dtype = DType::bf16, int head_dim = 64, int qo_heads = 4, int kv_heads = 2) {
  return GqaDecodeSpec{
      .dtype = dtype, .num_qo_heads = qo_heads, .num_kv_heads = kv_heads, .head_dim = head_dim, .page_size = page_size};
}

inline Spec mla(int page_size, DType dtype = DType::bf16, int num_heads = 3) {
  return MlaDecodeSpec{.dtype = dtype, .num_heads = num_heads, .page_size = page_size};
}

/// One spec of either kernel.
inline std::vector<Spec> both(int page_size, DType dtype = DType::bf16) {
  return {gqa(page_size, dtype), mla(page_size, dtype)};
}

}  // namespace librt::test
