// Grouped-query decode attention over a paged KV cache; one query token a request.
#pragma once

#include <librt/binding.hpp>
#include <librt/export.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <array>
#include <cstdint>
#include <optional>

namespace librt {

/// Heads q*group .. q*group+group-1 of the query share KV head q, with group = num_qo_heads / num_kv_heads.
struct GqaDecodeSpec {
  DType dtype = DType::bf16;        ///< of q and out
  std::optional<DType> kv_dtype{};  ///< of K and V; unset = dtype. Must equal dtype in this version
  int num_qo_heads = 0;             ///< a multiple of num_kv_heads
  int num_kv_heads = 0;             ///< num_qo_heads / num_kv_heads must be 1..16
  int head_dim = 0;                 ///< 64, 80, 96, 128, 192 or 256
  int page_size = 0;                ///< tokens in a page, 1..65536

  friend bool operator==(const GqaDecodeSpec&, const GqaDecodeSpec&) = default;
  LIBRT_API operator Spec() const;  // NOLINT(google-explicit-constructor): the typed view of one
  /// kv_dtype is set; nothing for a spec of another kernel.
  LIBRT_API static std::optional<GqaDecodeSpec> from(const Spec& spec);
};

/// Device pointers of one launch, all of the kernel's device. Everything stays owned by the caller and must live
/// until the stream has passed. out and lse overlap nothing else: they are written while the inputs are still read.
/// Launches that may run at the same time need workspaces of their own.
struct GqaDecodeArgs {
  const void* q = nullptr;  ///< [batch, num_qo_heads, head_dim]
  PagedTensor k_pages{};
  PagedTensor v_pages{};
  const std::int32_t* kv_indptr = nullptr;         ///< [batch + 1]
  const std::int32_t* kv_indices = nullptr;        ///< page ids; may be null if the plan's limits allow no page
  const std::int32_t* kv_last_page_len = nullptr;  ///< [batch]
  void* out = nullptr;                             ///< as q
  float* lse = nullptr;                            ///< [batch, num_qo_heads], natural log; null = not wanted
  Workspace workspace{};                           ///< in which a plan was staged; a Buffer will do
  float sm_scale = 0;  ///< factor of q.k, usually 1/sqrt(head_dim); must be finite and not 0

  std::array<Binding, 10> bindings() const noexcept {
    return {{{"q", q},
             {"k_pages", k_pages},
             {"v_pages", v_pages},
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
