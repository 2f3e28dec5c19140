// The examples of the help texts that name a kernel.
#pragma once

#include <string_view>

namespace librt::tool::help {

inline constexpr const char* kCompileExample =
    "librt compile mla_decode num_heads=16 page_size=64 dtype=bf16 --arch sm_90a -o mla.cubin";
inline constexpr const char* kWhyExample =
    "librt cache why mla_decode num_heads=16 page_size=64 dtype=bf16 --arch sm_90a";
inline constexpr const char* kProveExample =
    "librt prove gqa_decode dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16";

inline constexpr std::string_view kRunExamples =
    R"(librt run --example batch.safetensors
  librt run batch.safetensors -o out.safetensors --device virtual

Tensors; a batch of requests, of which request b owns the pages )"
    R"(kv_indices[kv_indptr[b]] .. kv_indices[kv_indptr[b + 1] - 1]:

  gqa_decode   shape                                       type
  q            [batch, qo_heads, head_dim]                 BF16 or F16
  k_pages      [num_pages, page_size, kv_heads, head_dim]  as q
  v_pages      as k_pages                                  as q

  mla_decode   shape                                       type
  q_nope       [batch, heads, 512]                         BF16 or F16
  q_pe         [batch, heads, 64]                          as q_nope
  ckv_pages    [num_pages, page_size, 512]                 as q_nope
  kpe_pages    [num_pages, page_size, 64]                  as q_nope

  both         shape                                       type
  kv_indptr    [batch + 1], never falls                    I32
  kv_indices   [at least kv_indptr[batch]], page ids       I32
  kv_last_page_len  [batch], 1 to page_size                I32
  qo_indptr    [batch + 1], 0 to batch; may be absent      I32

Metadata, all of them texts:

  kernel       gqa_decode or mla_decode
  sm_scale     the factor of q.k, usually 1/sqrt(head_dim)
  kv_layout    NHD, or HND: [num_pages, kv_heads, page_size, head_dim]; of GQA
  mask         causal or none; alike for one query token, as is causal=true
  window_left, logits_soft_cap   -1 and 0: neither windows nor caps are built

What else would change the result (sinks, biases, masks, scales, block tables ...) is )"
    R"(refused by name, and any other name ignored with a note.

The output: out [batch, heads, head_dim or 512], of q's type, and lse [batch, heads], F32, )"
    R"(natural log. A request without pages gets 0 and -inf.)";

}  // namespace librt::tool::help
