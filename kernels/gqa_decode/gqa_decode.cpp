// The description of gqa_decode.
#include "kernels/gqa_decode/gqa_decode.h"

#include <librt/gqa_decode.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <algorithm>

#include "kernels/description.hpp"

namespace librt {
namespace kernels {
extern const KernelDescription gqa_decode;
namespace {

constexpr int kMaxGroup = 16;
constexpr int kMaxHeads = 65535;  // of a grid's second dimension
constexpr int kHeadDims[] = {64, 80, 96, 128, 192, 256};

constexpr Field kFields[] = {
    {.name = "dtype", .dtypes = kTensorCoreTypes},
    {.name = "kv_dtype", .dtypes = kTensorCoreTypes, .default_field = "dtype"},
    {.name = "num_qo_heads", .low = 1, .high = kMaxHeads, .in_key = false, .aliases = "num_q_heads"},
    {.name = "num_kv_heads", .low = 1, .high = kMaxHeads, .in_key = false},
    {.name = "head_dim",
     .values = kHeadDims,
     .aliases = "head_dim_qk qk_head_dim head_size head_dim_vo head_dim_v v_head_dim "
                "vo_head_dim value_head_dim head_size_v"},
    {.name = "page_size", .low = 1, .high = kMaxPageSize, .aliases = "block_size"}};

constexpr std::string_view kRows[] = {"batch", "num_qo_heads", "head_dim"};
constexpr std::string_view kPages[] = {"num_pages", "page_size", "num_kv_heads", "head_dim"};
constexpr std::string_view kLse[] = {"batch", "num_qo_heads"};

enum : std::size_t { kQ, kK, kV, kIndptr, kIndices, kLastPageLen, kOut, kLseOut, kWorkspace, kSmScale };
constexpr Operand kOperands[] = {
    {.name = "q", .element = "dtype", .shape = kRows},
    {.name = "k_pages", .form = Form::paged, .element = "kv_dtype", .shape = kPages},
    {.name = "v_pages", .form = Form::paged, .element = "kv_dtype", .shape = kPages},
    {.name = "kv_indptr", .meaning = Meaning::kv_indptr, .element = "i32", .shape = kBatchAndOne},
    {.name = "kv_indices", .meaning = Meaning::kv_indices, .element = "i32"},
    {.name = "kv_last_page_len", .meaning = Meaning::kv_last_page_len, .element = "i32", .shape = kBatch},
    {.name = "out", .access = Access::write, .element = "dtype", .shape = kRows},
    {.name = "lse", .access = Access::write, .element = "f32", .shape = kLse, .optional = true},
    {.name = "workspace", .access = Access::write, .form = Form::workspace},
    {.name = "sm_scale", .form = Form::scalar, .nonzero = true}};

GqaDecodeSpec typed(const Spec& spec) {
  return *GqaDecodeSpec::from(spec);
}

void validate(const Spec& spec) {
  const GqaDecodeSpec gqa = typed(spec);
  require_same_dtype(spec);
  if (gqa.num_qo_heads % gqa.num_kv_heads != 0 || gqa.num_qo_heads / gqa.num_kv_heads > kMaxGroup) {
    refuse_field(spec, "num_qo_heads", fmt::format("1 to {} times num_kv_heads={}", kMaxGroup, gqa.num_kv_heads));
  }
}

KernelVariant specialize(const Spec& spec, const Arch& arch) {
  const GqaDecodeSpec gqa = typed(spec);
  const tiles::Tile tile = tiles::gqa_tile(arch.sm, gqa.head_dim);
  return {.traits = "GqaDecodeTraits",
          .arguments = fmt::format("{}, {}, {}, {}, {}", element_type(gqa.dtype), gqa.head_dim, gqa.page_size,
                                   tile.tile_tokens, tile.stages),
          .tile_tokens = tile.tile_tokens,
          .stages = tile.stages,
          .block_threads = tiles::gqa_threads(),
          .shared_bytes = tiles::gqa_shared_bytes(gqa.head_dim, tile)};
}

SplitShape split(const Spec& spec, const Arch&) {
  const GqaDecodeSpec gqa = typed(spec);
  return {.heads = gqa.num_qo_heads,
          .head_dim = gqa.head_dim,
          .page_size = gqa.page_size,
          .blocks_per_item = gqa.num_kv_heads,
          .tokens_per_item = plan::gqa_costs().per_item,
          .tokens_per_merge = plan::gqa_costs().per_merge};
}

Spec merge(const Spec& spec) {
  const GqaDecodeSpec gqa = typed(spec);
  return merge_spec(gqa.dtype, gqa.head_dim, gqa.num_qo_heads);
}

void fill(LaunchArguments& launch) {
  const GqaDecodeSpec gqa = typed(launch.spec());
  const PagedTensor &k = launch.pages(kK), &v = launch.pages(kV);
  launch.params<GqaDecodeParams>() = {.q = launch.data(kQ),
                                      .k_pages = k.data,
                                      .v_pages = v.data,
                                      .out = launch.data<void>(kOut),
                                      .lse = launch.data<float>(kLseOut),
                                      .kv_indptr = launch.data<const int>(kIndptr),
                                      .kv_indices = launch.data<const int>(kIndices),
                                      .kv_last_page_len = launch.data<const int>(kLastPageLen),
                                      .plan = *launch.plan(),
                                      .k_page_stride = k.page_stride,
                                      .k_token_stride = k.token_stride,
                                      .k_head_stride = k.head_stride,
                                      .v_page_stride = v.page_stride,
                                      .v_token_stride = v.token_stride,
                                      .v_head_stride = v.head_stride,
                                      .num_qo_heads = gqa.num_qo_heads,
                                      .num_kv_heads = gqa.num_kv_heads,
                                      .sm_scale = launch.scalar(kSmScale)};
  launch.set_grid(launch.item_blocks(), static_cast<unsigned>(gqa.num_kv_heads));
}

/// The number of heads does not reach the program.
Spec with_kv_heads(const Spec& spec, int most) {
  GqaDecodeSpec gqa = typed(spec);
  const int group = gqa.num_qo_heads / gqa.num_kv_heads;
  gqa.num_kv_heads = std::min(gqa.num_kv_heads, most);
  gqa.num_qo_heads = group * gqa.num_kv_heads;
  return gqa;
}

}  // namespace

constinit const KernelDescription gqa_decode{.name = "gqa_decode",
                                             .fields = kFields,
                                             .operands = kOperands,
                                             .validate = validate,
                                             .specialize = specialize,
                                             .split = split,
                                             .merge = merge,
                                             .fill = fill,
                                             .with_kv_heads = with_kv_heads};

}  // namespace kernels

GqaDecodeSpec::operator Spec() const {
  static const KernelKind& kind = *find_kernel(kernels::gqa_decode.name);
  const int values[] = {static_cast<int>(dtype),
                        static_cast<int>(kv_dtype.value_or(dtype)),
                        num_qo_heads,
                        num_kv_heads,
                        head_dim,
                        page_size};
  return {kind, values};
}

std::optional<GqaDecodeSpec> GqaDecodeSpec::from(const Spec& spec) {
  if (spec.kernel() != kernels::gqa_decode.name) return std::nullopt;
  return GqaDecodeSpec{.dtype = static_cast<DType>(spec.at(0)),
                       .kv_dtype = static_cast<DType>(spec.at(1)),
                       .num_qo_heads = spec.at(2),
                       .num_kv_heads = spec.at(3),
                       .head_dim = spec.at(4),
                       .page_size = spec.at(5)};
}

}  // namespace librt
