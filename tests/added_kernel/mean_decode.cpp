#include "mean_decode.hpp"

#include <string>

#include "mean_decode/mean_decode.h"

namespace librt::test {
namespace {

constexpr DType kTypes[] = {DType::bf16, DType::f16};
constexpr int kHeadDims[] = {64, 128};
constexpr Field kFields[] = {{.name = "dtype", .dtypes = kTypes},
                             {.name = "num_kv_heads", .low = 1, .high = 64, .in_key = false},
                             {.name = "head_dim", .values = kHeadDims, .default_value = 64},
                             {.name = "page_size", .low = 1, .high = 256}};

constexpr std::string_view kPages[] = {"num_pages", "page_size", "num_kv_heads", "head_dim"};
constexpr std::string_view kRows[] = {"batch", "num_kv_heads", "head_dim"};
constexpr std::string_view kBatch[] = {"batch"};
constexpr std::string_view kBatchAndOne[] = {"batch + 1"};

enum : std::size_t { kV, kIndptr, kIndices, kLastPageLen, kOut, kWorkspace, kScale };
constexpr Operand kOperands[] = {
    {.name = "v_pages", .form = Form::paged, .element = "dtype", .shape = kPages},
    {.name = "kv_indptr", .meaning = Meaning::kv_indptr, .element = "i32", .shape = kBatchAndOne},
    {.name = "kv_indices", .meaning = Meaning::kv_indices, .element = "i32"},
    {.name = "kv_last_page_len", .meaning = Meaning::kv_last_page_len, .element = "i32", .shape = kBatch},
    {.name = "out", .access = Access::write, .element = "dtype", .shape = kRows},
    {.name = "workspace", .access = Access::write, .form = Form::workspace},
    {.name = "sm_scale", .form = Form::scalar, .nonzero = true}};

constexpr KernelSource kSources[] = {
#include "mean_decode_files.inc"
};

void validate(const Spec& spec) {
  if (spec.get("page_size") % 2 != 0) refuse_field(spec, "page_size", "an even number");
}

KernelVariant specialize(const Spec& spec, const Arch&) {
  const std::string element = spec.dtype("dtype") == DType::bf16 ? "Bf16" : "F16";
  return {.traits = "MeanDecodeTraits",
          .arguments = "librt::device::" + element + ", " + std::to_string(spec.get("head_dim")) + ", " +
                       std::to_string(spec.get("page_size")),
          .block_threads = spec.get("head_dim") / 2};
}

SplitShape split(const Spec& spec, const Arch&) {
  return {.heads = spec.get("num_kv_heads"),
          .head_dim = spec.get("head_dim"),
          .page_size = spec.get("page_size"),
          .blocks_per_item = spec.get("num_kv_heads")};
}

void fill(LaunchArguments& launch) {
  const PagedTensor& pages = launch.pages(kV);
  const int heads = launch.spec().get("num_kv_heads");
  launch.params<MeanDecodeParams>() = {.v_pages = pages.data,
                                       .out = launch.data<void>(kOut),
                                       .kv_indptr = launch.data<const int>(kIndptr),
                                       .kv_indices = launch.data<const int>(kIndices),
                                       .kv_last_page_len = launch.data<const int>(kLastPageLen),
                                       .plan = *launch.plan(),
                                       .page_stride = pages.page_stride,
                                       .token_stride = pages.token_stride,
                                       .head_stride = pages.head_stride,
                                       .num_kv_heads = heads,
                                       .scale = launch.scalar(kScale)};
  launch.set_grid(launch.item_blocks(), static_cast<unsigned>(heads));
}

constexpr KernelDescription kMeanDecode{.name = "mean_decode",
                                        .fields = kFields,
                                        .operands = kOperands,
                                        .validate = validate,
                                        .specialize = specialize,
                                        .split = split,
                                        .fill = fill,
                                        .sources = kSources};

}  // namespace

const KernelDescription& mean_decode() {
  return kMeanDecode;
}

}  // namespace librt::test
