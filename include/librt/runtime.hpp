// The entry point: specs in, kernels out.
#pragma once

#include <librt/artifact.hpp>
#include <librt/buffer.hpp>
#include <librt/cache.hpp>
#include <librt/export.hpp>
#include <librt/kernel.hpp>
#include <librt/kernel_kind.hpp>
#include <librt/options.hpp>
#include <librt/prewarm.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace librt {

namespace detail {
struct RuntimeImpl;
}

/// What the device in use is.
struct DeviceInfo {
  std::string name{};  ///< "NVIDIA H200", "virtual:sm_80"
  Arch arch{};         ///< what get() compiles for
  int num_sms = 0;
  int shared_bytes_per_block = 0;  ///< opt-in maximum
  bool is_virtual = false;
};

/// Making one touches neither a GPU nor NVRTC: the device is opened by the first call that needs it, NVRTC by the first
/// miss. Movable; all const-free members below are thread safe and may run side by side. Kernels and Buffers may
/// outlive it. Each Runtime has one device; several for different GPUs may live in one process.
/// fork: in a child, a Runtime whose GPU was opened before the fork throws no_device, since the CUDA driver does
/// not survive a fork, and what the parent made may only be destroyed, which touches no driver. One whose GPU was
/// not opened yet works, as do those that have a virtual device; but a child that was forked while a thread of its
/// parent was compiling cannot compile (compile_failed), since what NVRTC had locked stays locked there, and it
/// should end by _exit() or exec.
/// Exit: Runtimes, Kernels and Buffers may be static; what the driver no longer takes back at the exit of the
/// process is left to its end. exit() while other threads are in a call is safe, in main and in a thread that made
/// a Runtime: it waits for compiles under way, and those that come after it throw compile_failed. Such a thread may
/// wait at its end for the first compile of another, a second or two.
/// Stacks: a thread needs 64 KiB of stack to get() from memory or disk and to launch, 256 KiB where NVRTC compiles.
/// Members of a moved-from Runtime throw Error(invalid_argument); it may be assigned to and destroyed.
class LIBRT_API Runtime {
 public:
  /// Throws Error(invalid_argument) for options that cannot be: a device or a cache directory that is none.
  explicit Runtime(Options options = Options::from_env());
  ~Runtime();
  Runtime(Runtime&&) noexcept;
  Runtime& operator=(Runtime&&) noexcept;

  /// Makes a kernel known to the whole process, for good: its specs are then parsed, compiled, cached, run and
  /// prewarmed as librt's own are. Thread safe. Throws Error(invalid_argument) that names what of the description
  /// cannot be, or the name that is taken.
  static const KernelKind& add_kernel(const KernelDescription& description);

  /// The specialization for the device in use, loaded: from memory, from disk, or compiled (and then cached). Includes
  /// the kernel that merges splits. Threads that ask for the same spec at once share one compile.
  /// What is in memory already costs no lock and no driver call.
  ///
  /// No compiler is needed for what a cache directory has: where there is no NVRTC, and in mode only, where nobody
  /// looks for one, any compiler's entry of the same program serves, the newest compiler's first. Where neither a
  /// directory has the GPU's own code (sm_121a, then sm_121) nor NVRTC knows the GPU, its family's first plain code is
  /// used (sm_120, then sm_120f), else PTX for the highest earlier architecture, which the driver finishes. A warning
  /// names each such step once. Throws Error: invalid_argument, no_device, no_nvrtc, compile_failed, unsupported,
  /// not_cached, driver.
  Kernel get(const Spec& spec);

  /// get() of each ahead of need, side by side on up to `threads` threads (0 = one for each core); in the order of
  /// `specs`. At the start of a program, so that no request waits for a compile and nothing is loaded in the middle of
  /// a capture of a CUDA graph (which the driver may refuse): the decode and the merge are then on the device in full,
  /// and later calls of get() find them in memory, without a lock, until drop_memory_cache(). Throws as get(): all are
  /// tried before the error of the first that failed is thrown; the others then stay prepared.
  std::vector<Kernel> prepare(std::span<const Spec> specs, unsigned threads = 0);

  /// The specialization for any architecture that NVRTC supports. Needs no device.
  Artifact compile(const Spec& spec, const Arch& arch);

  /// As compile(), for the kernel that merges the splits of a spec's results.
  Artifact compile_merge(const Spec& spec, const Arch& arch);

  /// Puts into the cache directory what get() of each spec on a device of each architecture would compile: the decode
  /// kernel and the one that merges its splits, each program once, several at a time. What is there already is kept, so
  /// that a prewarm that was killed goes on where it was. Needs no device. One failure does not stop the others.
  ///
  /// GPUs from 9.0 on ask for the code that is specific to them: where `archs` has sm_90, sm_90a is made too. The plain
  /// code of a family's first (sm_120) serves its later GPUs (12.1) too, where nothing is compiled: see get().
  ///
  /// Nothing is kept in memory. Throws Error: invalid_argument (no archs, no cache directory that can be written to, a
  /// cache_mode other than rw), no_nvrtc (of something that is not there yet). Everything else is in the report.
  PrewarmReport prewarm(std::span<const Spec> specs, std::span<const Arch> archs, const PrewarmOptions& options = {});

  /// Whether compile() would find it on disk; if not, the nearest entry and what differs. Loads and compiles
  /// nothing. Without NVRTC, and in mode only, any compiler's entry of the same program counts, and the key document
  /// names no compiler.
  CacheExplanation explain(const Spec& spec, const Arch& arch);

  /// The text of the program that compile() would hand to NVRTC. Needs neither NVRTC nor a device.
  std::string source(const Spec& spec, const Arch& arch) const;

  /// Loads an Artifact made by compile(spec, ...) on the device in use. On the virtual device its PTX is run. The merge
  /// kernel is fetched by the first plan that needs it, so make that one ahead of a capture of a CUDA graph.
  Kernel load(const Spec& spec, Artifact artifact);

  /// Opens the device if that has not happened yet.
  DeviceInfo device();

  /// Throws Error: driver, or device_fault on the virtual device, where the device has not so much memory.
  Buffer allocate(std::size_t bytes);
  /// Copies to / from device memory and waits for the copy: on a GPU for the default stream, and for the streams that
  /// it waits for, not for those made with CU_STREAM_NON_BLOCKING; synchronize() waits for all. `offset` counts bytes
  /// from the start of the buffer. A buffer of another device is refused.
  void upload(const Buffer& to, std::span<const std::byte> from, std::size_t offset = 0);
  void download(std::span<std::byte> to, const Buffer& from, std::size_t offset = 0);

  /// Makes a buffer of the size of `from` and copies it there.
  /// @param from a std::vector, std::array or std::span of plain values, const or not
  template <std::ranges::contiguous_range Range>
  requires std::ranges::sized_range<Range> && std::is_trivially_copyable_v<std::ranges::range_value_t<Range>> Buffer
  upload(const Range& from) {
    const auto bytes = std::as_bytes(std::span(std::ranges::data(from), std::ranges::size(from)));
    Buffer buffer = allocate(bytes.size());
    upload(buffer, bytes);
    return buffer;
  }

  /// Waits for all work on the device.
  void synchronize();

  /// Forgets the in-memory map of compiled kernels; the disk and live Kernels are untouched.
  void drop_memory_cache();

  RuntimeStats stats() const;
  /// Adds what was counted to the sum of the cache directory, as happens anyhow after each compile, when the last
  /// Runtime and Kernel that share it are gone, and when the process exits.
  void flush_stats();
  const Options& options() const;

 private:
  detail::RuntimeImpl& impl() const;
  std::unique_ptr<detail::RuntimeImpl> impl_;
};

}  // namespace librt
