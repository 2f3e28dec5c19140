// A PTX machine with labels and sanitizers, on which tests launch compiled kernels with parameters of their own making.
#pragma once

#include <librt/artifact.hpp>

#include <bit>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "src/ptx/instrumented.hpp"

namespace librt::test {

/// Label 0: valid for no request. Label r + 1: not valid for request r; so batches have at most 7 requests.
constexpr ptx::Labels kPadding = 1;
constexpr ptx::Labels padding_of(int request) {
  return static_cast<ptx::Labels>(2u << request);
}

/// Parsed once, launched often.
struct MachineKernel {
  explicit MachineKernel(Artifact compiled) : artifact(std::move(compiled)), module(ptx::Module::parse(artifact.ptx)) {}

  Artifact artifact;
  ptx::Module module;
};

struct MachineOptions {
  bool labels = true;
  bool sanitizers = true;
  ptx::CopyTiming copy_timing = ptx::CopyTiming::late;
  /// Of one launch. What tests launch takes far less; a kernel that hangs ends here, within seconds.
  std::uint64_t max_warp_instructions = std::uint64_t{1} << 24;
};

class Machine {
 public:
  explicit Machine(const MachineOptions& options) : options_(options) {}

  template <class T>
  T* upload(const std::vector<T>& values, const char* name) {
    const std::uint64_t address = memory_.allocate(values.size() * sizeof(T), name);
    memory_.write(address, std::as_bytes(std::span(values)));
    return std::bit_cast<T*>(address);
  }
  /// Memory that nothing has written yet: it is padding until a kernel writes it.
  template <class T>
  T* unwritten(std::size_t count, const char* name) {
    T* at = std::bit_cast<T*>(memory_.allocate(count * sizeof(T), name));
    label(at, count, kPadding);
    return at;
  }
  template <class T>
  std::vector<T> download(const T* from, std::size_t count) const {
    std::vector<T> values(count);
    memory_.read(std::bit_cast<std::uint64_t>(from), std::as_writable_bytes(std::span(values)));
    return values;
  }
  template <class T>
  void label(const T* from, std::size_t count, ptx::Labels labels) {
    if (options_.labels) map_.label(std::bit_cast<std::uint64_t>(from), count * sizeof(T), labels);
  }
  /// All labels of these bytes together.
  template <class T>
  ptx::Labels labels_of(const T* from, std::size_t count) const {
    ptx::Labels all = 0;
    for (const ptx::Labels labels : map_.read(std::bit_cast<std::uint64_t>(from), count * sizeof(T))) all |= labels;
    return all;
  }
  /// Does nothing once a launch has not completed, as on a device.
  template <class Params>
  void launch(const MachineKernel& kernel, const Params& params, ptx::Dim3 grid) {
    if (!completed) return;
    ptx::LaunchOptions options;
    options.grid = grid;
    options.block = {static_cast<std::uint32_t>(kernel.artifact.block_threads), 1, 1};
    options.dynamic_shared_bytes = static_cast<std::uint32_t>(kernel.artifact.shared_bytes);
    options.copy_timing = options_.copy_timing;
    options.max_warp_instructions = options_.max_warp_instructions;
    const ptx::InstrumentedReport report = launch_instrumented(
        kernel.module, memory_, options_.labels ? &map_ : nullptr, options_.sanitizers ? &sanitizers_ : nullptr,
        kernel.artifact.entry, std::as_bytes(std::span(&params, 1)), options);
    completed = report.completed;
    findings.insert(findings.end(), report.taint.begin(), report.taint.end());
    defects.insert(defects.end(), report.defects.begin(), report.defects.end());
  }

  bool completed = true;  ///< false: the last of `defects` ended a launch
  std::vector<ptx::TaintFinding> findings;
  std::vector<ptx::SanitizerFinding> defects;

 private:
  MachineOptions options_;
  ptx::Memory memory_;
  ptx::TaintMap map_{memory_};
  ptx::SanitizerMap sanitizers_{memory_};
};

}  // namespace librt::test
