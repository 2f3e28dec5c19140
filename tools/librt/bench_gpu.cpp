// Bandwidth of the kernels on a GPU, beside a plain device copy: decode attention is bound by memory.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>

#include "src/reference/numbers.hpp"
#include "tools/librt/bench.hpp"
#include "tools/librt/decode.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

constexpr int kTokens = 4096;

std::optional<Runtime> open_gpu() {
  Options options = options_from_environment();
  if (options.device.starts_with("virtual")) options.device = "cuda:0";
  try {
    Runtime runtime(options);
    runtime.device();
    return runtime;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::no_device) return {};
    throw;
  }
}

/// Seconds of one call, from enough calls in a row that the host's part disappears; the best of five rounds.
template <class Enqueue>
double seconds_of(Runtime& runtime, const Enqueue& enqueue) {
  constexpr int kCalls = 100;
  enqueue();
  runtime.synchronize();
  return best_of(5, [&] {
    const Stopwatch watch;
    for (int i = 0; i < kCalls; ++i) enqueue();
    runtime.synchronize();
    return watch.seconds() / kCalls;
  });
}

/// `count` numbers of ordinary size; a short pattern repeated, since only the memory traffic matters.
Buffer numbers(Runtime& runtime, std::size_t count) {
  constexpr std::size_t kPattern = 1 << 20;
  std::mt19937 random(7);
  std::vector<std::uint16_t> pattern(std::min(count, kPattern));
  for (std::uint16_t& value : pattern)
    value = reference::to_bits(static_cast<double>(random() % 65536) / 32768 - 1, DType::bf16);
  Buffer buffer = runtime.allocate(count * 2);
  for (std::size_t done = 0; done < count; done += kPattern) {
    const std::size_t part = std::min(kPattern, count - done);
    runtime.upload(buffer, std::as_bytes(std::span(pattern).first(part)), done * 2);
  }
  return buffer;
}

Metric bandwidth(const std::string& name, double bytes, double seconds) {
  return {.name = name, .value = bytes / seconds / 1e9, .unit = "GB/s", .greater_is_better = true, .has_target = false};
}

/// `batch` requests of kTokens tokens over pages in random order.
Metric measure_decode(Runtime& runtime, const std::string& name, const Spec& spec, int batch) {
  const DecodeShape shape = shape_of(spec);
  const int pages_each = kTokens / shape.page_size;
  const int num_pages = batch * pages_each;
  std::vector<std::int32_t> indptr(static_cast<std::size_t>(batch) + 1);
  for (std::size_t b = 0; b < indptr.size(); ++b) indptr[b] = static_cast<std::int32_t>(b) * pages_each;
  std::vector<std::int32_t> indices(static_cast<std::size_t>(num_pages));
  std::iota(indices.begin(), indices.end(), 0);
  std::shuffle(indices.begin(), indices.end(), std::mt19937(3));
  const std::vector<std::int32_t> last(static_cast<std::size_t>(batch), shape.page_size);

  const auto rows = static_cast<std::size_t>(batch) * static_cast<std::size_t>(shape.heads);
  const auto cache_rows = static_cast<std::size_t>(num_pages) * static_cast<std::size_t>(shape.page_size) *
                          static_cast<std::size_t>(shape.kv_heads);
  const auto dim = [](int value) { return static_cast<std::size_t>(value); };
  const Buffer q0 = numbers(runtime, rows * dim(shape.queries[0].dim));
  const Buffer q1 = shape.queries.size() > 1 ? numbers(runtime, rows * dim(shape.queries[1].dim)) : Buffer{};
  const Buffer p0 = numbers(runtime, cache_rows * dim(shape.pages[0].dim));
  const Buffer p1 = numbers(runtime, cache_rows * dim(shape.pages[1].dim));
  const Buffer kv_indptr = runtime.upload(std::span<const std::int32_t>(indptr));
  const Buffer kv_indices = runtime.upload(std::span<const std::int32_t>(indices));
  const Buffer kv_last = runtime.upload(std::span<const std::int32_t>(last));
  const Buffer out = runtime.allocate(rows * dim(shape.out_dim) * 2);
  const Buffer lse = runtime.allocate(rows * sizeof(float));

  const Kernel kernel = runtime.get(spec);
  const Plan plan = kernel.plan({indptr, last});
  const Buffer workspace = runtime.allocate(std::max<std::size_t>(plan.workspace_bytes(), 256));
  const auto fill = [&](auto args) {
    args.kv_indptr = kv_indptr.as<const std::int32_t>();
    args.kv_indices = kv_indices.as<const std::int32_t>();
    args.kv_last_page_len = kv_last.as<const std::int32_t>();
    args.out = out.data();
    args.lse = lse.as<float>();
    args.workspace = workspace;
    args.sm_scale = 1.0F / std::sqrt(static_cast<float>(shape.queries[0].dim));
    return args;
  };
  const PagedTensor first{.data = p0.data(), .num_pages = num_pages};
  const PagedTensor second{.data = p1.data(), .num_pages = num_pages};
  const auto gqa = fill(GqaDecodeArgs{.q = q0.data(), .k_pages = first, .v_pages = second});
  const auto mla = fill(MlaDecodeArgs{.q_nope = q0.data(), .q_pe = q1.data(), .ckv_pages = first, .kpe_pages = second});
  const bool is_gqa = spec.as<GqaDecodeSpec>().has_value();
  kernel.stage(plan, workspace);
  const double seconds = seconds_of(runtime, [&] { is_gqa ? kernel.launch(plan, gqa) : kernel.launch(plan, mla); });
  const double cache_bytes = 2.0 * static_cast<double>(cache_rows) * (shape.pages[0].dim + shape.pages[1].dim);
  return bandwidth(name, cache_bytes, seconds);
}

/// The driver's own copy from device memory to device memory, read and written bytes counted.
Metric measure_copy(Runtime& runtime) {
  const std::unique_ptr<void, int (*)(void*)> library(dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), dlclose);
  if (!library) throw std::runtime_error("libcuda.so.1 cannot be opened");
  const auto symbol = [&]<class Function>(Function*& function, const char* name) {
    function = reinterpret_cast<Function*>(dlsym(library.get(), name));
    if (function == nullptr) throw std::runtime_error(std::string("libcuda.so.1 has no ") + name);
  };
  int (*retain)(void**, int) = nullptr;
  int (*release)(int) = nullptr;
  int (*set_current)(void*) = nullptr;
  int (*copy)(unsigned long long, unsigned long long, std::size_t, void*) = nullptr;
  symbol(retain, "cuDevicePrimaryCtxRetain");
  symbol(release, "cuDevicePrimaryCtxRelease_v2");
  symbol(set_current, "cuCtxSetCurrent");
  symbol(copy, "cuMemcpyDtoDAsync_v2");
  const auto check = [](int status) {
    if (status != 0) throw std::runtime_error("the driver's copy failed with error " + std::to_string(status));
  };
  const std::string& device = runtime.options().device;
  void* context = nullptr;
  const int ordinal = std::stoi(device.substr(device.find(':') + 1));
  check(retain(&context, ordinal));
  check(set_current(context));

  constexpr std::size_t kBytes = std::size_t{1} << 30;
  const Buffer from = runtime.allocate(kBytes);
  const Buffer to = runtime.allocate(kBytes);
  const auto address = [](const Buffer& buffer) { return reinterpret_cast<unsigned long long>(buffer.data()); };
  const double seconds = seconds_of(runtime, [&] { check(copy(address(to), address(from), kBytes, nullptr)); });
  check(release(ordinal));
  return bandwidth("gpu.device_copy", 2.0 * kBytes, seconds);
}

}  // namespace

std::vector<Metric> measure_gpu(ProgressBar& bar) {
  bar.next("the GPU's own copy");
  std::optional<Runtime> runtime = open_gpu();
  if (!runtime) return {};
  std::vector<Metric> metrics{measure_copy(*runtime)};
  bar.next("gqa_decode on the GPU");
  metrics.push_back(measure_decode(
      *runtime, "gpu.gqa_decode_d128_p16_16x4k",
      GqaDecodeSpec{.dtype = DType::bf16, .num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128, .page_size = 16},
      16));
  bar.next("mla_decode on the GPU");
  metrics.push_back(measure_decode(*runtime, "gpu.mla_decode_h16_p64_128x4k",
                                   MlaDecodeSpec{.dtype = DType::bf16, .num_heads = 16, .page_size = 64}, 128));
  return metrics;
}

}  // namespace librt::tool
