// Speed of the PTX machine, plain and with labels and sanitizers: the head_dim 128 decode kernel on one core.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/gqa_decode/gqa_decode.h"
#include "src/ptx/instrumented.hpp"
#include "src/reference/numbers.hpp"
#include "tools/librt/bench.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

constexpr GqaDecodeSpec kSpec{
    .dtype = DType::bf16, .num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128, .page_size = 16};
constexpr int kPages = 64;  // of the one request: 1024 tokens

template <class T>
const T* upload(ptx::Memory& memory, const std::vector<T>& values, const char* label) {
  const std::uint64_t address = memory.allocate(values.size() * sizeof(T), label);
  memory.write(address, std::as_bytes(std::span(values)));
  return std::bit_cast<const T*>(address);
}

/// Numbers of ordinary size, the same in each run.
std::vector<std::uint16_t> numbers(std::size_t count) {
  std::vector<std::uint16_t> values(count);
  std::uint32_t state = 1;
  for (std::uint16_t& value : values) {
    state = state * 1664525 + 1013904223;
    value = reference::to_bits(static_cast<double>(state >> 16) / 65536 - 0.5, DType::bf16);
  }
  return values;
}

}  // namespace

std::vector<Metric> measure_virtual_machine(ProgressBar& bar) {
  bar.next("a compile for the virtual device");
  Options options = options_from_environment();
  options.cache_mode = CacheMode::off;
  const Artifact artifact = Runtime(options).compile(kSpec, parse_arch("compute_80"));
  const ptx::Module module = ptx::Module::parse(artifact.ptx);

  constexpr std::size_t kHeadDim = kSpec.head_dim;
  constexpr std::size_t kRow = kSpec.num_kv_heads * kHeadDim;
  constexpr std::size_t kCache = kPages * kSpec.page_size * kRow;
  constexpr std::size_t kQuery = kSpec.num_qo_heads * kHeadDim;
  ptx::Memory memory;
  std::vector<int> page_ids(kPages);
  std::iota(page_ids.begin(), page_ids.end(), 0);
  GqaDecodeParams params{};
  params.q = upload(memory, numbers(kQuery), "q");
  params.k_pages = upload(memory, numbers(kCache), "k_pages");
  params.v_pages = upload(memory, numbers(kCache), "v_pages");
  params.out = const_cast<std::uint16_t*>(upload(memory, std::vector<std::uint16_t>(kQuery), "out"));
  params.lse = const_cast<float*>(upload(memory, std::vector<float>(kSpec.num_qo_heads), "lse"));
  params.kv_indptr = upload(memory, std::vector<int>{0, kPages}, "kv_indptr");
  params.kv_indices = upload(memory, page_ids, "kv_indices");
  params.kv_last_page_len = upload(memory, std::vector<int>{kSpec.page_size - 3}, "kv_last_page_len");
  constexpr unsigned long long kMark = 1;
  params.plan = {.mark = kMark,
                 .header = upload(memory, std::vector<PlanHeader>{{kMark, 1, 0}}, "header"),
                 .items = upload(memory, std::vector<WorkItem>{{0, 0, kPages, -1}}, "work_items"),
                 .merge_requests = nullptr,
                 .merge_indptr = nullptr,
                 .partial_out = nullptr,
                 .partial_stats = nullptr,
                 .batch = 1};
  params.k_page_stride = params.v_page_stride = kSpec.page_size * static_cast<long long>(kRow);
  params.k_token_stride = params.v_token_stride = kRow;
  params.k_head_stride = params.v_head_stride = kHeadDim;
  params.num_qo_heads = kSpec.num_qo_heads;
  params.num_kv_heads = kSpec.num_kv_heads;
  params.sm_scale = 0.088388F;

  ptx::LaunchOptions launch;
  launch.grid = {1, static_cast<std::uint32_t>(kSpec.num_kv_heads), 1};
  launch.block = {static_cast<std::uint32_t>(artifact.block_threads), 1, 1};
  launch.dynamic_shared_bytes = static_cast<std::uint32_t>(artifact.shared_bytes);
  launch.threads = 1;
  // Labels as for a batch: what is valid for the one request is padding for another.
  ptx::TaintMap labels(memory);
  for (const void* pages : {params.k_pages, params.v_pages}) {
    constexpr std::size_t kValid = kCache - 3 * kRow;
    const auto at = std::bit_cast<std::uint64_t>(pages);
    labels.label(at, kValid * sizeof(std::uint16_t), 0b100);
    labels.label(at + kValid * sizeof(std::uint16_t), 3 * kRow * sizeof(std::uint16_t), 0b111);
  }
  ptx::SanitizerMap accesses(memory);
  const std::span bytes = std::as_bytes(std::span(&params, 1));
  double plain = std::numeric_limits<double>::infinity(), instrumented = plain;
  std::uint64_t instructions = 0;
  for (std::size_t i = 1; i < kVirtualSteps; ++i) {
    bar.next("the virtual device");
    const Stopwatch watch;
    instructions = ptx::launch(module, memory, artifact.entry, bytes, launch).warp_instructions;
    plain = std::min(plain, watch.seconds());
    const Stopwatch second_watch;
    ptx::launch_instrumented(module, memory, &labels, &accesses, artifact.entry, bytes, launch);
    instrumented = std::min(instrumented, second_watch.seconds());
  }
  return {{.name = "virtual.warp_instructions_per_s",
           .value = static_cast<double>(instructions) / plain,
           .unit = "1/s",
           .target = 10e6,
           .greater_is_better = true},
          {.name = "virtual.instrumented_ratio", .value = instrumented / plain, .unit = "x", .target = 4}};
}

}  // namespace librt::tool
