// The description of append_kv.
#include "kernels/append_kv/append_kv.h"

#include <librt/error.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "kernels/description.hpp"

namespace librt::kernels {
extern const KernelDescription append_kv;
namespace {

constexpr int kMaxHeads = 65535;
constexpr int kMaxDim = 4096;
constexpr int kPieceElements = 8;  // of 16 bits, in 16 bytes
constexpr std::int64_t kMostBlocks = 65536;

// The names of a latent cache's tensors are aliases: ckv is k, kpe is v, and there is one head.
constexpr Field kFields[] = {
    {.name = "dtype", .dtypes = kTensorCoreTypes, .in_key = false},
    {.name = "kv_dtype", .dtypes = kTensorCoreTypes, .default_field = "dtype", .in_key = false},
    {.name = "num_kv_heads", .low = 1, .high = kMaxHeads, .default_value = 1, .in_key = false},
    {.name = "head_dim", .low = kPieceElements, .high = kMaxDim, .aliases = "head_dim_ckv kv_lora_rank head_size"},
    {.name = "head_dim_vo",
     .low = kPieceElements,
     .high = kMaxDim,
     .default_field = "head_dim",
     .aliases = "head_dim_kpe qk_rope_head_dim head_dim_v v_head_dim"},
    {.name = "page_size", .low = 1, .high = kMaxPageSize, .aliases = "block_size"}};

constexpr std::string_view kKRows[] = {"total_new", "num_kv_heads", "head_dim"};
constexpr std::string_view kVRows[] = {"total_new", "num_kv_heads", "head_dim_vo"};
constexpr std::string_view kKPages[] = {"num_pages", "page_size", "num_kv_heads", "head_dim"};
constexpr std::string_view kVPages[] = {"num_pages", "page_size", "num_kv_heads", "head_dim_vo"};
constexpr std::string_view kTotalNew[] = {"total_new"};

enum : std::size_t { kKNew, kVNew, kK, kV, kAppendIndptr, kPositions, kIndptr, kIndices, kBatchCount, kNewCount };
constexpr Operand kOperands[] = {
    {.name = "k_new", .form = Form::rows, .element = "dtype", .shape = kKRows, .aliases = "ckv_new"},
    {.name = "v_new", .form = Form::rows, .element = "dtype", .shape = kVRows, .aliases = "kpe_new"},
    {.name = "k_pages",
     .access = Access::update,
     .form = Form::paged,
     .element = "kv_dtype",
     .shape = kKPages,
     .aliases = "ckv_pages"},
    {.name = "v_pages",
     .access = Access::update,
     .form = Form::paged,
     .element = "kv_dtype",
     .shape = kVPages,
     .aliases = "kpe_pages"},
    {.name = "append_indptr", .element = "i32", .shape = kBatchAndOne},
    {.name = "append_positions", .element = "i32", .shape = kTotalNew},
    {.name = "kv_indptr", .meaning = Meaning::kv_indptr, .element = "i32", .shape = kBatchAndOne},
    {.name = "kv_indices", .meaning = Meaning::kv_indices, .element = "i32"},
    {.name = "batch", .form = Form::count},
    {.name = "total_new", .form = Form::count}};

void validate(const Spec& spec) {
  require_same_dtype(spec);
  for (const char* const name : {"head_dim", "head_dim_vo"}) {
    if (spec.get(name) % kPieceElements != 0) {
      refuse_field(spec, name, fmt::format("a multiple of {} up to {}", kPieceElements, kMaxDim));
    }
  }
}

KernelVariant specialize(const Spec& spec, const Arch&) {
  return {.traits = "AppendKvTraits",
          .arguments = fmt::format("{}, {}, {}", spec.get("head_dim"), spec.get("head_dim_vo"), spec.get("page_size")),
          .block_threads = tiles::append_threads()};
}

AppendKvPart part_of(const RowTensor& rows, const PagedTensor& pages) {
  return {.rows = rows.data,
          .pages = const_cast<void*>(pages.data),
          .row_stride = rows.row_stride,
          .row_head_stride = rows.head_stride,
          .page_stride = pages.page_stride,
          .token_stride = pages.token_stride,
          .head_stride = pages.head_stride};
}

void fill(LaunchArguments& launch) {
  const std::int64_t total_new = launch.count(kNewCount);
  constexpr std::int64_t kMostPages = 2147483647;  // page ids are int
  launch.params<AppendKvParams>() = {.k = part_of(launch.rows(kKNew), launch.pages(kK)),
                                     .v = part_of(launch.rows(kVNew), launch.pages(kV)),
                                     .append_indptr = launch.data<const int>(kAppendIndptr),
                                     .append_positions = launch.data<const int>(kPositions),
                                     .kv_indptr = launch.data<const int>(kIndptr),
                                     .kv_indices = launch.data<const int>(kIndices),
                                     .batch = static_cast<int>(launch.count(kBatchCount)),
                                     .total_new = static_cast<int>(total_new),
                                     .num_pages = static_cast<int>(std::min(launch.pages(kK).num_pages, kMostPages)),
                                     .num_kv_heads = launch.spec().get("num_kv_heads")};
  launch.set_grid(static_cast<unsigned>(std::min(total_new, kMostBlocks)));
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

/// Starts at `first` or above, never falls, ends at `last` or below.
void check_indptr(std::string_view name, const std::vector<std::int32_t>& indptr, std::int64_t last) {
  std::int64_t before = 0;
  for (std::size_t i = 0; i < indptr.size(); ++i) {
    if (indptr[i] < before || indptr[i] > last) {
      refuse(fmt::format("{}[{}] is {}; allowed: {}..{}", name, i, indptr[i], before, last));
    }
    before = indptr[i];
  }
}

/// Every new token has a slot, which is its own.
void inspect(const HostArguments& arguments) {
  const std::int64_t batch = arguments.count(kBatchCount), total_new = arguments.count(kNewCount);
  const int page_size = arguments.spec().get("page_size");
  const auto append_indptr = arguments.integers(kAppendIndptr, 0, batch + 1);
  const auto positions = arguments.integers(kPositions, 0, total_new);
  const auto kv_indptr = arguments.integers(kIndptr, 0, batch + 1);
  check_indptr("append_indptr", append_indptr, total_new);
  check_indptr("kv_indptr", kv_indptr, 2147483647);
  if (append_indptr.front() != 0 || append_indptr.back() != total_new) {
    refuse(fmt::format("append_indptr goes from {} to {}; allowed: 0 to total_new={}", append_indptr.front(),
                       append_indptr.back(), total_new));
  }
  std::map<std::pair<std::int32_t, int>, std::int32_t> writers;  // of a page and a slot
  for (std::size_t b = 0; b + 1 < append_indptr.size(); ++b) {
    if (append_indptr[b] == append_indptr[b + 1]) continue;
    const std::int64_t owned = kv_indptr[b + 1] - kv_indptr[b];
    const auto ids = arguments.integers(kIndices, kv_indptr[b], owned);
    for (std::int32_t token = append_indptr[b]; token < append_indptr[b + 1]; ++token) {
      const std::int32_t position = positions[static_cast<std::size_t>(token)];
      if (owned == 0) {
        refuse(fmt::format("append_positions[{}] is {}; request {} has no page for it", token, position, b));
      }
      if (position < 0 || position / page_size >= owned) {
        refuse(fmt::format("append_positions[{}] is {}; allowed in request {}, which has {} pages of {} tokens: 0..{}",
                           token, position, b, owned, page_size, owned * page_size - 1));
      }
      const std::int32_t page = ids[static_cast<std::size_t>(position / page_size)];
      if (page < 0 || page >= arguments.num_pages()) {
        refuse(fmt::format("request {}: page {} of it, kv_indices[{}], is {}; allowed: 0..{} (num_pages - 1)", b,
                           position / page_size, kv_indptr[b] + position / page_size, page, arguments.num_pages() - 1));
      }
      const auto [writer, is_new] = writers.try_emplace({page, position % page_size}, token);
      if (!is_new) {
        refuse(fmt::format("new tokens {} and {} both go to slot {} of page {}; allowed: one a slot", writer->second,
                           token, position % page_size, page));
      }
    }
  }
}

}  // namespace

constinit const KernelDescription append_kv{.name = "append_kv",
                                            .fields = kFields,
                                            .operands = kOperands,
                                            .validate = validate,
                                            .specialize = specialize,
                                            .fill = fill,
                                            .inspect = inspect};

}  // namespace librt::kernels
