// The description of merge_states.
#include "kernels/merge_states/merge_states.h"

#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <limits>

#include "kernels/description.hpp"

namespace librt::kernels {
extern const KernelDescription merge_states;
namespace {

constexpr int kMaxHeads = 65535;
constexpr int kMaxHeadDim = 4 * tiles::merge_threads();

constexpr Field kFields[] = {{.name = "dtype", .dtypes = kTensorCoreTypes},
                             {.name = "head_dim", .low = 4, .high = kMaxHeadDim},
                             {.name = "num_heads", .low = 1, .high = kMaxHeads, .in_key = false}};

constexpr std::string_view kRows[] = {"batch", "num_heads", "head_dim"};
constexpr std::string_view kLse[] = {"batch", "num_heads"};

enum : std::size_t { kOut, kLseOut };
constexpr Operand kOperands[] = {
    {.name = "out", .access = Access::write, .element = "dtype", .shape = kRows},
    {.name = "lse", .access = Access::write, .element = "f32", .shape = kLse, .optional = true}};

void validate(const Spec& spec) {
  if (spec.get("head_dim") % 4 != 0)
    refuse_field(spec, "head_dim", fmt::format("a multiple of 4 up to {}", kMaxHeadDim));
}

KernelVariant specialize(const Spec& spec, const Arch&) {
  return {.traits = "MergeStatesTraits",
          .arguments = fmt::format("{}, {}", element_type(spec.dtype("dtype")), spec.get("head_dim")),
          .block_threads = tiles::merge_threads()};
}

void fill(LaunchArguments& launch) {
  const int heads = launch.spec().get("num_heads");
  launch.params<MergeParams>() = {
      .plan = *launch.plan(), .out = launch.data<void>(kOut), .lse = launch.data<float>(kLseOut), .num_heads = heads};
  launch.set_grid(static_cast<unsigned>(heads), launch.merge_blocks());
}

}  // namespace

constinit const KernelDescription merge_states{.name = "merge_states",
                                               .fields = kFields,
                                               .operands = kOperands,
                                               .internal = true,
                                               .validate = validate,
                                               .specialize = specialize,
                                               .fill = fill};

Spec merge_spec(DType dtype, int head_dim, int num_heads) {
  static const KernelKind& kind = *find_kernel(merge_states.name);
  const int values[] = {static_cast<int>(dtype), head_dim, num_heads};
  return {kind, values};
}

}  // namespace librt::kernels
