// A device: memory, loaded kernels, launches. cuda/ drives a GPU through libcuda, virtual/ executes PTX on the CPU.
#pragma once

#include <librt/artifact.hpp>
#include <librt/error.hpp>
#include <librt/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace librt::device {

using Address = std::uint64_t;  ///< device address
using StreamHandle = void*;     ///< CUstream; null = the default stream; ignored by the virtual device

struct Properties {
  std::string name;
  Arch arch;  ///< what to compile for, to run here
  int num_sms = 0;
  int shared_bytes_per_block = 0;  ///< opt-in maximum
  bool is_virtual = false;
};

/// What a GPU of compute capability sm/10.sm%10 has compiled for it: code for exactly this GPU may use everything it
/// has (wgmma and TMA on sm_90a), and costs nothing in portability, since the architecture is in the key of every
/// cached kernel.
inline constexpr Arch gpu_arch(int sm) {
  constexpr int kFirstWithSpecifics = 90;  // below it there is no 'a' variant
  return {.sm = sm, .suffix = sm >= kFirstWithSpecifics ? 'a' : '\0', .ptx_only = false};
}

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

/// The driver took the bytes of an artifact for no code that it can run: other bytes may be. Errors of the machine,
/// such as too little memory or a lost context, are plain Errors.
class RefusedCode : public Error {
 public:
  /// @param maybe_damaged the driver should know code of this age: false = it is too old for whatever the same compiler
  /// makes
  explicit RefusedCode(const std::string& what, bool maybe_damaged = true)
      : Error(ErrorCode::driver, what), maybe_damaged_(maybe_damaged) {}
  bool maybe_damaged() const noexcept { return maybe_damaged_; }

 private:
  bool maybe_damaged_;
};

/// A kernel that is ready to launch on the device it was loaded on. Immutable, thread safe; keeps what it needs alive.
class LoadedKernel {
 public:
  virtual ~LoadedKernel() = default;
  /// @param params the bytes of the kernel's only parameter. On a GPU it takes no lock, allocates nothing and reads no
  /// environment variable.
  virtual void launch(const Grid& grid, std::span<const std::byte> params, StreamHandle stream) const = 0;
};

/// Page-locked host memory, and the copies from it. Not thread safe. To be destroyed when no copy is under way.
class PinnedBuffer {
 public:
  virtual ~PinnedBuffer() = default;
  virtual std::span<std::byte> bytes() noexcept = 0;
  /// Enqueues a copy of the first `count` bytes. Throws Error(invalid_argument) for a stream that is being captured.
  virtual void upload_async(Address to, std::size_t count, StreamHandle stream) = 0;
  /// Whether the last copy is still under way, so that the bytes must not change.
  virtual bool is_busy() = 0;
  virtual void wait() = 0;
};

/// Thread safe. All members throw librt::Error (no_device, driver, device_fault, invalid_argument).
class Device {
 public:
  virtual ~Device() = default;
  virtual const Properties& properties() const noexcept = 0;
  /// Throws Error(no_device) where no other member can work: in a child that was forked after a GPU was opened.
  virtual void require_this_process() const = 0;
  /// Uses artifact.entry, block_threads and shared_bytes. Loads all of it, so that nothing is left for the first
  /// launch. Throws RefusedCode too.
  virtual std::shared_ptr<const LoadedKernel> load(const Artifact& artifact) = 0;

  virtual Address allocate(std::size_t bytes) = 0;
  virtual void release(Address address) noexcept = 0;
  /// Copy and wait.
  virtual void upload(Address to, std::span<const std::byte> from) = 0;
  virtual void download(std::span<std::byte> to, Address from) = 0;
  virtual std::unique_ptr<PinnedBuffer> allocate_pinned(std::size_t bytes) = 0;
  virtual void synchronize() = 0;
};

/// Opens libcuda and device `ordinal`. Throws Error(no_device) saying why: driver missing, stub, no such device.
std::shared_ptr<Device> open_cuda_device(int ordinal);
/// @param arch the architecture to pose as; @param threads host threads a launch uses, 0 = one for each core.
/// @param most_warp_instructions that one launch may execute
std::shared_ptr<Device> open_virtual_device(const Arch& arch, unsigned threads,
                                            std::uint64_t most_warp_instructions = std::uint64_t{1} << 40);

}  // namespace librt::device
