// The description of mla_decode.
#include "kernels/mla_decode/mla_decode.h"

#include <librt/kernel_kind.hpp>
#include <librt/mla_decode.hpp>

#include <fmt/format.h>

#include "kernels/description.hpp"

namespace librt {
namespace kernels {
extern const KernelDescription mla_decode;
namespace {

constexpr int kMaxHeads = 128;
constexpr int kCkvDims[] = {512};
constexpr int kKpeDims[] = {64};

constexpr Field kFields[] = {
    {.name = "dtype", .dtypes = kTensorCoreTypes},
    {.name = "kv_dtype", .dtypes = kTensorCoreTypes, .default_field = "dtype"},
    {.name = "num_heads", .low = 1, .high = kMaxHeads, .in_key = false, .aliases = "num_qo_heads num_q_heads"},
    {.name = "head_dim_ckv",
     .values = kCkvDims,
     .default_value = 512,
     .aliases = "kv_lora_rank head_dim_vo head_dim_v"},
    {.name = "head_dim_kpe", .values = kKpeDims, .default_value = 64, .aliases = "qk_rope_head_dim"},
    {.name = "page_size", .low = 1, .high = kMaxPageSize, .aliases = "block_size"}};

constexpr std::string_view kCkvRows[] = {"batch", "num_heads", "head_dim_ckv"};
constexpr std::string_view kKpeRows[] = {"batch", "num_heads", "head_dim_kpe"};
constexpr std::string_view kCkvPages[] = {"num_pages", "page_size", "head_dim_ckv"};
constexpr std::string_view kKpePages[] = {"num_pages", "page_size", "head_dim_kpe"};
constexpr std::string_view kLse[] = {"batch", "num_heads"};

enum : std::size_t { kQNope, kQPe, kCkv, kKpe, kIndptr, kIndices, kLastPageLen, kOut, kLseOut, kWorkspace, kSmScale };
constexpr Operand kOperands[] = {
    {.name = "q_nope", .element = "dtype", .shape = kCkvRows},
    {.name = "q_pe", .element = "dtype", .shape = kKpeRows},
    {.name = "ckv_pages", .form = Form::paged, .element = "kv_dtype", .shape = kCkvPages},
    {.name = "kpe_pages", .form = Form::paged, .element = "kv_dtype", .shape = kKpePages},
    {.name = "kv_indptr", .meaning = Meaning::kv_indptr, .element = "i32", .shape = kBatchAndOne},
    {.name = "kv_indices", .meaning = Meaning::kv_indices, .element = "i32"},
    {.name = "kv_last_page_len", .meaning = Meaning::kv_last_page_len, .element = "i32", .shape = kBatch},
    {.name = "out", .access = Access::write, .element = "dtype", .shape = kCkvRows},
    {.name = "lse", .access = Access::write, .element = "f32", .shape = kLse, .optional = true},
    {.name = "workspace", .access = Access::write, .form = Form::workspace},
    {.name = "sm_scale", .form = Form::scalar, .nonzero = true}};

MlaDecodeSpec typed(const Spec& spec) {
  return *MlaDecodeSpec::from(spec);
}

int blocks_of(const MlaDecodeSpec& mla) {
  const int rows = tiles::mla_rows(mla.num_heads);
  return (mla.num_heads + rows - 1) / rows;
}

KernelVariant specialize(const Spec& spec, const Arch& arch) {
  const MlaDecodeSpec mla = typed(spec);
  const int rows = tiles::mla_rows(mla.num_heads);
  const tiles::Tile tile = tiles::mla_tile(arch.sm, rows);
  return {.traits = "MlaDecodeTraits",
          .arguments = fmt::format("{}, {}, {}, {}, {}, {}, {}", element_type(mla.dtype), mla.head_dim_ckv,
                                   mla.head_dim_kpe, mla.page_size, rows, tile.tile_tokens, tile.stages),
          .tile_tokens = tile.tile_tokens,
          .stages = tile.stages,
          .rows = rows,
          .block_threads = tiles::mla_threads(),
          .shared_bytes = tiles::mla_shared_bytes(mla.head_dim_ckv, mla.head_dim_kpe, rows, tile)};
}

SplitShape split(const Spec& spec, const Arch&) {
  const MlaDecodeSpec mla = typed(spec);
  return {.heads = mla.num_heads,
          .head_dim = mla.head_dim_ckv,
          .page_size = mla.page_size,
          .blocks_per_item = blocks_of(mla),
          .tokens_per_item = plan::mla_costs().per_item,
          .tokens_per_merge = plan::mla_costs().per_merge};
}

Spec merge(const Spec& spec) {
  const MlaDecodeSpec mla = typed(spec);
  return merge_spec(mla.dtype, mla.head_dim_ckv, mla.num_heads);
}

void fill(LaunchArguments& launch) {
  const MlaDecodeSpec mla = typed(launch.spec());
  const PagedTensor &ckv = launch.pages(kCkv), &kpe = launch.pages(kKpe);
  launch.params<MlaDecodeParams>() = {.q_nope = launch.data(kQNope),
                                      .q_pe = launch.data(kQPe),
                                      .ckv_pages = ckv.data,
                                      .kpe_pages = kpe.data,
                                      .out = launch.data<void>(kOut),
                                      .lse = launch.data<float>(kLseOut),
                                      .kv_indptr = launch.data<const int>(kIndptr),
                                      .kv_indices = launch.data<const int>(kIndices),
                                      .kv_last_page_len = launch.data<const int>(kLastPageLen),
                                      .plan = *launch.plan(),
                                      .ckv_page_stride = ckv.page_stride,
                                      .ckv_token_stride = ckv.token_stride,
                                      .kpe_page_stride = kpe.page_stride,
                                      .kpe_token_stride = kpe.token_stride,
                                      .num_heads = mla.num_heads,
                                      .sm_scale = launch.scalar(kSmScale)};
  launch.set_grid(launch.item_blocks(), static_cast<unsigned>(blocks_of(mla)));
}

}  // namespace

constinit const KernelDescription mla_decode{.name = "mla_decode",
                                             .fields = kFields,
                                             .operands = kOperands,
                                             .validate = require_same_dtype,
                                             .specialize = specialize,
                                             .split = split,
                                             .merge = merge,
                                             .fill = fill,
                                             .scaled_dim = 128 + 64};  // before the projection was absorbed

}  // namespace kernels

MlaDecodeSpec::operator Spec() const {
  static const KernelKind& kind = *find_kernel(kernels::mla_decode.name);
  const int values[] = {static_cast<int>(dtype),
                        static_cast<int>(kv_dtype.value_or(dtype)),
                        num_heads,
                        head_dim_ckv,
                        head_dim_kpe,
                        page_size};
  return {kind, values};
}

std::optional<MlaDecodeSpec> MlaDecodeSpec::from(const Spec& spec) {
  if (spec.kernel() != kernels::mla_decode.name) return std::nullopt;
  return MlaDecodeSpec{.dtype = static_cast<DType>(spec.at(0)),
                       .kv_dtype = static_cast<DType>(spec.at(1)),
                       .num_heads = spec.at(2),
                       .head_dim_ckv = spec.at(3),
                       .head_dim_kpe = spec.at(4),
                       .page_size = spec.at(5)};
}

}  // namespace librt
