// What a kernel is specialised for. A spec is a value: comparable, printable, parsable.
#pragma once

#include <librt/export.hpp>
#include <librt/types.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace librt {

/// Grouped-query decode attention over a paged KV cache; one query token a request.
/// Heads q*group .. q*group+group-1 of the query share KV head q, with group = num_qo_heads / num_kv_heads.
struct GqaDecodeSpec {
  DType dtype = DType::bf16;        ///< of q and out
  std::optional<DType> kv_dtype{};  ///< of K and V; unset = dtype. Must equal dtype in this version
  int num_qo_heads = 0;             ///< a multiple of num_kv_heads
  int num_kv_heads = 0;             ///< num_qo_heads / num_kv_heads must be 1..16
  int head_dim = 0;                 ///< 64, 80, 96, 128, 192 or 256
  int page_size = 0;                ///< tokens in a page, 1..65536

  friend bool operator==(const GqaDecodeSpec&, const GqaDecodeSpec&) = default;
};

/// Multi-head latent attention decode (absorbed form): every head attends to the same latent row, whose first
/// head_dim_ckv numbers are both key and value and whose head_dim_kpe rotary numbers are key only.
struct MlaDecodeSpec {
  DType dtype = DType::bf16;
  std::optional<DType> kv_dtype{};  ///< of ckv and kpe; unset = dtype. Must equal dtype in this version
  int num_heads = 0;                ///< 1..128
  int head_dim_ckv = 512;           ///< 512
  int head_dim_kpe = 64;            ///< 64
  int page_size = 0;                ///< tokens in a page, 1..65536

  friend bool operator==(const MlaDecodeSpec&, const MlaDecodeSpec&) = default;
};

using Spec = std::variant<GqaDecodeSpec, MlaDecodeSpec>;

/// Throws Error(invalid_argument) that names the field, its value and what is allowed; a DType that is none of the
/// enum's is refused too.
LIBRT_API void validate(const GqaDecodeSpec& spec);
LIBRT_API void validate(const MlaDecodeSpec& spec);
LIBRT_API void validate(const Spec& spec);

/// "gqa_decode" or "mla_decode".
LIBRT_API std::string_view kernel_name(const Spec& spec) noexcept;

/// One line that parse_spec reads back: the kernel's name, then key=value for every member in the order of the struct,
/// e.g. "gqa_decode dtype=bf16 kv_dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16".
LIBRT_API std::string to_string(const GqaDecodeSpec& spec);
LIBRT_API std::string to_string(const MlaDecodeSpec& spec);
LIBRT_API std::string to_string(const Spec& spec);

/// Reads "KERNEL key=value ..." with the keys in any order. mla_decode defaults to head_dim_ckv=512 head_dim_kpe=64,
/// kv_dtype to dtype; every other member is required. The result is validated. Throws Error(invalid_argument).
LIBRT_API Spec parse_spec(std::string_view text);

}  // namespace librt
