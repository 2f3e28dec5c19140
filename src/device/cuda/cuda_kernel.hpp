// A cubin (or PTX) that the driver has loaded.
#pragma once

#include <librt/artifact.hpp>

#include <cstddef>
#include <memory>
#include <span>

#include "src/device/cuda/context.hpp"
#include "src/device/device.hpp"

namespace librt::device::cuda {

/// Can code for `code` run on a GPU of compute capability `device_sm` (90 for 9.0)? `sm_XX` code runs within its major
/// version from its minor version on, plain PTX on every later GPU, `a` code on exactly its own.
bool can_run(const Arch& code, int device_sm) noexcept;

/// Owns a CUlibrary. launch() works from any thread.
class CudaKernel final : public LoadedKernel {
 public:
  /// Throws Error: invalid_argument, unsupported (wrong architecture, too much shared memory), driver.
  CudaKernel(std::shared_ptr<const PrimaryContext> context, const Properties& properties, const Artifact& artifact);
  ~CudaKernel() override;

  void launch(const Grid& grid, std::span<const std::byte> params, StreamHandle stream) const override;

 private:
  void load_library(const Artifact& artifact);
  void prepare(const Artifact& artifact);
  void unload() noexcept;

  std::shared_ptr<const PrimaryContext> context_;
  Library library_ = nullptr;
  Function function_ = nullptr;
  std::size_t params_bytes_ = 0;  // 0: the driver is too old to tell
  unsigned block_threads_;
  unsigned shared_bytes_;
};

}  // namespace librt::device::cuda
