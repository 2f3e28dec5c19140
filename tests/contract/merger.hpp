// Runs merge_states by itself, on partial results that a test makes up.
#pragma once

#include <librt/librt.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "kernels/merge_states/merge_states.h"
#include "src/device/device.hpp"
#include "tests/contract/specs.hpp"
#include "tests/support/reference.hpp"

namespace librt::test {

/// One split's result of one head.
struct Part {
  std::vector<float> out;
  PartialStats stats;
};

inline Part constant(int head_dim, float value, PartialStats stats) {
  return {std::vector<float>(static_cast<std::size_t>(head_dim), value), stats};
}

/// Of a part without positions.
inline constexpr PartialStats kNoPositions{-std::numeric_limits<float>::infinity(), 0};

/// Of a part with positions, the logits of which are all -inf.
inline constexpr PartialStats kNoWeight{std::numeric_limits<float>::lowest(), 0};

struct Merged {
  std::vector<double> out;
  float lse;
};

/// Of the plans that tests make up.
inline constexpr unsigned long long kMark = 0x9e3779b97f4a7c15;

/// merge_states for one request with one head.
class Merger {
 public:
  Merger(Runtime& runtime, int head_dim, DType dtype = DType::f16)
      : head_dim_(head_dim), dtype_(dtype), device_(device::open_virtual_device(kArch, 1)) {
    const Spec spec = head_dim == 512 ? mla(16, dtype) : gqa(16, dtype, head_dim);
    kernel_ = device_->load(runtime.compile_merge(spec, kArch));
  }

  Merged operator()(const std::vector<Part>& parts) const {
    std::vector<float> partial_out;
    std::vector<PartialStats> partial_stats;
    for (const Part& part : parts) {
      partial_out.insert(partial_out.end(), part.out.begin(), part.out.end());
      partial_stats.push_back(part.stats);
    }
    const std::vector<std::int32_t> requests{0}, indptr{0, static_cast<std::int32_t>(parts.size())};
    const std::vector<PlanHeader> header{{.mark = kMark, .num_items = 0, .num_merges = 1}};
    std::vector<Bits> out(static_cast<std::size_t>(head_dim_), 0xffff);
    std::vector<float> lse{std::numeric_limits<float>::quiet_NaN()};
    const device::Address at[] = {upload(partial_out), upload(partial_stats), upload(requests), upload(indptr),
                                  upload(out),         upload(lse),           upload(header)};
    const MergeParams params{.plan = {.mark = kMark,
                                      .header = reinterpret_cast<const PlanHeader*>(at[6]),
                                      .items = nullptr,
                                      .merge_requests = reinterpret_cast<const int*>(at[2]),
                                      .merge_indptr = reinterpret_cast<const int*>(at[3]),
                                      .partial_out = reinterpret_cast<float*>(at[0]),
                                      .partial_stats = reinterpret_cast<PartialStats*>(at[1]),
                                      .batch = 1},
                             .out = reinterpret_cast<void*>(at[4]),
                             .lse = reinterpret_cast<float*>(at[5]),
                             .num_heads = 1};
    kernel_->launch({.x = 1, .y = 1}, std::as_bytes(std::span(&params, 1)), nullptr);
    device_->download(std::as_writable_bytes(std::span(out)), at[4]);
    device_->download(std::as_writable_bytes(std::span(lse)), at[5]);
    for (const device::Address address : at) device_->release(address);
    Merged merged{.out = {}, .lse = lse[0]};
    for (const Bits bits : out) merged.out.push_back(to_double(bits, dtype_));
    return merged;
  }

 private:
  static constexpr Arch kArch{.sm = 80, .suffix = 0, .ptx_only = true};

  template <class T>
  device::Address upload(const std::vector<T>& values) const {
    const auto bytes = std::as_bytes(std::span(values));
    const device::Address address = device_->allocate(bytes.size());
    device_->upload(address, bytes);
    return address;
  }

  int head_dim_;
  DType dtype_;
  std::shared_ptr<device::Device> device_;
  std::shared_ptr<const device::LoadedKernel> kernel_;
};

}  // namespace librt::test
