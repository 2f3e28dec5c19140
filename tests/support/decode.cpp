#include "tests/support/decode.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>

namespace librt::test {
namespace {

// NaN patterns that no instruction makes: the kernels' own NaNs have other mantissas.
constexpr Bits kUnwritten = 0xffa5;
constexpr std::uint32_t kUnwrittenLse = 0xffa5a5a5;

template <class T>
Buffer upload(Runtime& runtime, const std::vector<T>& values) {
  return runtime.upload(std::span<const T>(values));
}

template <class T>
std::vector<T> download(Runtime& runtime, const Buffer& buffer, std::size_t count) {
  std::vector<T> values(count);
  runtime.download(std::as_writable_bytes(std::span(values)), buffer);
  return values;
}

/// The buffers that both kinds of launch need.
struct Buffers {
  Buffers(Runtime& runtime, const Batch& batch, std::size_t workspace_bytes, std::size_t probe_floats)
      : q(upload(runtime, batch.q)),
        first(upload(runtime, batch.first.data)),
        second(upload(runtime, batch.second.data)),
        kv_indptr(upload(runtime, batch.kv_indptr)),
        kv_indices(upload(runtime, batch.kv_indices)),
        kv_last_page_len(upload(runtime, batch.kv_last_page_len)),
        out(upload(runtime, std::vector<Bits>(batch.q.size(), kUnwritten))),
        lse(upload(runtime, std::vector<std::uint32_t>(num_rows(batch) + probe_floats, kUnwrittenLse))),
        workspace(upload(runtime, std::vector<std::byte>(workspace_bytes, std::byte{0xff}))) {}

  static std::size_t num_rows(const Batch& batch) {
    return static_cast<std::size_t>(batch.size()) * static_cast<std::size_t>(batch.shape.qo_heads);
  }

  template <class Args>
  Args common(const Batch& batch) const {
    Args args;
    args.kv_indptr = kv_indptr.as<std::int32_t>();
    args.kv_indices = kv_indices.as<std::int32_t>();
    args.kv_last_page_len = kv_last_page_len.as<std::int32_t>();
    args.out = out.data();
    args.lse = lse.as<float>();
    args.workspace = workspace;
    args.sm_scale = batch.sm_scale;
    return args;
  }

  Buffer q, first, second, kv_indptr, kv_indices, kv_last_page_len, out, lse, workspace;
};

void launch_kernel(Runtime& runtime, const Kernel& kernel, const Plan& plan, const Batch& batch,
                   const Buffers& buffers) {
  if (batch.shape.is_mla) {
    const Buffer q_pe = upload(runtime, batch.q_pe);
    auto args = buffers.common<MlaDecodeArgs>(batch);
    args.q_nope = buffers.q.data();
    args.q_pe = q_pe.data();
    args.ckv_pages = batch.first.on_device(buffers.first);
    args.kpe_pages = batch.second.on_device(buffers.second);
    kernel.launch(plan, args);
    runtime.synchronize();
    return;
  }
  auto args = buffers.common<GqaDecodeArgs>(batch);
  args.q = buffers.q.data();
  args.k_pages = batch.first.on_device(buffers.first);
  args.v_pages = batch.second.on_device(buffers.second);
  kernel.launch(plan, args);
  runtime.synchronize();
}

std::string place(const Batch& batch, std::size_t row) {
  const auto heads = static_cast<std::size_t>(batch.shape.qo_heads);
  return fmt::format("request {} (kv_len {}), head {}", row / heads, batch.kv_len(static_cast<int>(row / heads)),
                     row % heads);
}

/// @param tolerance largest difference allowed between finite numbers
bool matches(double actual, double expected, double tolerance) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (std::isinf(expected)) return std::isnan(actual) || actual == expected;
  return std::fabs(actual - expected) <= tolerance;
}

double largest_finite(std::span<const double> row) {
  double largest = 0;
  for (const double number : row) {
    if (std::isfinite(number)) largest = std::max(largest, std::fabs(number));
  }
  return largest;
}

}  // namespace

Options virtual_options(const std::string& device) {
  Options options;
  options.device = device;
  options.cache_dir = LIBRT_TEST_CACHE_DIR;
  if (options.cache_dir.empty()) options.cache_dir = Options::from_env().cache_dir;  // on another machine
  options.log_level = LogLevel::error;
  return options;
}

Runtime& shared_runtime(const std::string& device) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<Runtime>> runtimes;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Runtime>& runtime = runtimes[device];
  if (!runtime) runtime = std::make_unique<Runtime>(virtual_options(device));
  return *runtime;
}

Result decode(Runtime& runtime, const Batch& batch, const Launch& launch) {
  const Kernel kernel = runtime.get(batch.spec);
  const Batch& planned = launch.planned_for != nullptr ? *launch.planned_for : batch;
  const Plan plan =
      kernel.plan({planned.kv_indptr, planned.kv_last_page_len}, {.limits = {.split_pages = launch.split_pages}});
  const Buffers buffers(runtime, batch, plan.workspace_bytes(), launch.probe_floats);
  kernel.stage(plan, buffers.workspace);
  launch_kernel(runtime, kernel, plan, batch, buffers);

  Result result{.out = download<Bits>(runtime, buffers.out, batch.q.size()),
                .lse = download<float>(runtime, buffers.lse, Buffers::num_rows(batch) + launch.probe_floats)};
  const auto probe = result.lse.begin() + static_cast<std::ptrdiff_t>(Buffers::num_rows(batch));
  result.probe.assign(probe, result.lse.end());
  result.lse.erase(probe, result.lse.end());
  const auto dim = static_cast<std::size_t>(batch.shape.out_dim());
  for (std::size_t i = 0; i < result.out.size(); ++i) {
    if (result.out[i] == kUnwritten) {
      throw std::runtime_error(fmt::format("out was not written at {}, number {}", place(batch, i / dim), i % dim));
    }
  }
  for (std::size_t row = 0; row < result.lse.size(); ++row) {
    if (std::bit_cast<std::uint32_t>(result.lse[row]) == kUnwrittenLse) {
      throw std::runtime_error(fmt::format("lse was not written at {}", place(batch, row)));
    }
  }
  return result;
}

Result rows_of(const Batch& batch, const Result& result, int request) {
  const auto rows = static_cast<std::size_t>(batch.shape.qo_heads);
  const auto numbers = rows * static_cast<std::size_t>(batch.shape.out_dim());
  const auto first = static_cast<std::size_t>(request);
  const auto cut = [first](const auto& all, std::size_t count) {
    using Vector = std::remove_cvref_t<decltype(all)>;
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first * count);
    return Vector(begin, begin + static_cast<std::ptrdiff_t>(count));
  };
  return {cut(result.out, numbers), cut(result.lse, rows)};
}

std::string difference(const Batch& batch, const Result& actual, const Expected& expected) {
  const double relative = batch.shape.dtype == DType::bf16 ? 2e-2 : 3e-3;
  const auto dim = static_cast<std::size_t>(batch.shape.out_dim());
  if (actual.out.size() != expected.out.size() || actual.lse.size() != expected.lse.size()) return "sizes differ";
  for (std::size_t row = 0; row < actual.lse.size(); ++row) {
    const double lse = static_cast<double>(actual.lse[row]);
    const double lse_tolerance = 1e-3 * std::max(1.0, std::fabs(expected.lse[row]));
    const bool same_infinity = std::isinf(expected.lse[row]) && lse == expected.lse[row];
    if (!same_infinity && (std::isinf(expected.lse[row]) || !matches(lse, expected.lse[row], lse_tolerance))) {
      return fmt::format("LSE of {} is {}, expected {}", place(batch, row), lse, expected.lse[row]);
    }
    const auto wanted = std::span(expected.out).subspan(row * dim, dim);
    const double tolerance = relative * largest_finite(wanted);
    for (std::size_t d = 0; d < dim; ++d) {
      const double number = batch.number(actual.out[row * dim + d]);
      if (!matches(number, wanted[d], tolerance)) {
        return fmt::format("out of {}, number {} is {}, expected {} within {:.3g}", place(batch, row), d, number,
                           wanted[d], tolerance);
      }
    }
  }
  return "";
}

std::string bit_difference(const Batch& batch, const Result& one, const Result& other) {
  const auto dim = static_cast<std::size_t>(batch.shape.out_dim());
  if (one.out.size() != other.out.size() || one.lse.size() != other.lse.size()) return "sizes differ";
  for (std::size_t i = 0; i < one.out.size(); ++i) {
    if (one.out[i] != other.out[i]) {
      return fmt::format("out of {}, number {} is {:#06x} ({}) and {:#06x} ({})", place(batch, i / dim), i % dim,
                         one.out[i], batch.number(one.out[i]), other.out[i], batch.number(other.out[i]));
    }
  }
  for (std::size_t row = 0; row < one.lse.size(); ++row) {
    const auto left = std::bit_cast<std::uint32_t>(one.lse[row]);
    const auto right = std::bit_cast<std::uint32_t>(other.lse[row]);
    if (left != right) {
      return fmt::format("LSE of {} is {:#010x} ({}) and {:#010x} ({})", place(batch, row), left, one.lse[row], right,
                         other.lse[row]);
    }
  }
  return "";
}

std::string poison_difference(Runtime& runtime, const Batch& batch, const Launch& launch, Operands operands) {
  const Result clean = decode(runtime, batch, launch);
  if (std::string wrong = difference(batch, clean, expected_of(batch)); !wrong.empty())
    return "clean padding: " + wrong;
  for (const Poison poison : kPoisons) {
    const Result poisoned = decode(runtime, fill_padding(batch, poison, operands), launch);
    if (const std::string changed = bit_difference(batch, clean, poisoned); !changed.empty()) {
      return fmt::format("{} in the padding: {}", to_string(poison), changed);
    }
  }
  return "";
}

}  // namespace librt::test
