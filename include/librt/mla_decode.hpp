// Multi-head latent attention decode (absorbed form); one query token a request.
#pragma once

#include <librt/binding.hpp>
#include <librt/export.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace librt {

/// Every head attends to the same latent row, whose first head_dim_ckv numbers are both key and value and whose
/// head_dim_kpe rotary numbers are key only.
struct MlaDecodeSpec {
  DType dtype = DType::bf16;
  std::optional<DType> kv_dtype{};  ///< of ckv and kpe; unset = dtype. Must equal dtype in this version
  int num_heads = 0;                ///< 1..128
  int head_dim_ckv = 512;           ///< 512
  int head_dim_kpe = 64;            ///< 64
  int page_size = 0;                ///< tokens in a page, 1..65536

  friend bool operator==(const MlaDecodeSpec&, const MlaDecodeSpec&) = default;
  LIBRT_API operator Spec() const;  // NOLINT(google-explicit-constructor): the typed view of one
  /// kv_dtype is set; nothing for a spec of another kernel.
  LIBRT_API static std::optional<MlaDecodeSpec> from(const Spec& spec);
};

/// Device pointers of one launch; see GqaDecodeArgs.
struct MlaDecodeArgs {
  const void* q_nope = nullptr;  ///< [batch, num_heads, head_dim_ckv]
  const void* q_pe = nullptr;    ///< [batch, num_heads, head_dim_kpe]
  PagedTensor ckv_pages{};       ///< [num_pages, page_size, head_dim_ckv]
  PagedTensor kpe_pages{};       ///< [num_pages, page_size, head_dim_kpe]
  const std::int32_t* kv_indptr = nullptr;
  const std::int32_t* kv_indices = nullptr;
  const std::int32_t* kv_last_page_len = nullptr;
  void* out = nullptr;   ///< [batch, num_heads, head_dim_ckv]
  float* lse = nullptr;  ///< [batch, num_heads], natural log; null = not wanted
  Workspace workspace{};
  float sm_scale = 0;  ///< of the model's un-absorbed head dim, e.g. 1/sqrt(128 + 64)

  std::array<Binding, 11> bindings() const noexcept {
    return {{{"q_nope", q_nope},
             {"q_pe", q_pe},
             {"ckv_pages", ckv_pages},
             {"kpe_pages", kpe_pages},
             {"kv_indptr", kv_indptr},
             {"kv_indices", kv_indices},
             {"kv_last_page_len", kv_last_page_len},
             {"out", out},
             {"lse", lse},
             {"workspace", workspace},
             {"sm_scale", sm_scale}}};
  }
};

}  // namespace librt
