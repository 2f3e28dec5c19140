// A device that executes PTX on the CPU.
#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "src/device/checks.hpp"
#include "src/device/device.hpp"
#include "src/device/virtual/launcher.hpp"
#include "src/device/virtual/virtual_arch.hpp"
#include "src/ptx/machine.hpp"
#include "src/util/per_process.hpp"

namespace librt::device {

namespace virtual_device {

namespace {

constexpr int kOldestArch = 80;

[[noreturn]] void rethrow(const ptx::MachineError& error, const std::string& doing) {
  const std::string message = fmt::format("{}: {}", doing, error.what());
  switch (error.fault()) {
    case ptx::Fault::syntax:
      throw Error(ErrorCode::corrupt, message);
    case ptx::Fault::unsupported:
      throw Error(ErrorCode::unsupported, message);
    case ptx::Fault::instruction_limit:
      throw Error(ErrorCode::device_fault,
                  message +
                      "; Options::virtual_instruction_limit (LIBRT_VIRTUAL_INSTRUCTION_LIMIT) is this limit, 0 "
                      "removes it");
    default:
      throw Error(ErrorCode::device_fault, message);
  }
}

/// Runs `work`, turning what the machine throws into what librt throws.
template <class Work>
decltype(auto) translate_faults(const std::string& doing, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const ptx::MachineError& error) {
    rethrow(error, doing);
  }
}

/// One launch or copy at a time.
class DeviceMutex {
 public:
  /// Waits for the others. Throws Error(device_fault) in a child that was forked in the middle of another thread's use:
  /// that thread is not there to finish it, and what it left is half done.
  class Lock {
   public:
    explicit Lock(DeviceMutex& mutex) : lock_(mutex.mutex_.lock()), taken_(mutex.taken_) {
      if (taken_.exchange(true)) {
        throw Error(ErrorCode::device_fault,
                    "another thread was using the virtual device when this process was forked: open a new one");
      }
    }
    ~Lock() { taken_.store(false); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    struct Nothing {};
    friend class DeviceMutex;

    util::PerProcess<Nothing>::Locked lock_;
    std::atomic<bool>& taken_;
  };

 private:
  util::PerProcess<Lock::Nothing> mutex_;
  std::atomic<bool> taken_{false};
};

struct SharedMachine {
  DeviceMutex mutex;
  std::shared_ptr<ptx::Memory> memory;
  Launcher launcher;
  unsigned threads = 1;
  std::uint64_t most_warp_instructions = 0;
};

class VirtualKernel final : public LoadedKernel {
 public:
  VirtualKernel(std::shared_ptr<SharedMachine> shared, const Properties& properties, const Artifact& artifact)
      : shared_(std::move(shared)),
        name_(fmt::format("{} on {}", artifact.kernel, properties.name)),
        entry_(artifact.entry),
        module_(translate_faults(fmt::format("loading {}", name_), [&] { return ptx::Module::parse(artifact.ptx); })) {
    const std::vector<std::string> entries = module_.entries();
    if (std::ranges::find(entries, entry_) == entries.end()) {
      throw Error(ErrorCode::corrupt, fmt::format("loading {}: its PTX has no entry \"{}\"", name_, entry_));
    }
    options_.block = {.x = static_cast<std::uint32_t>(artifact.block_threads)};
    options_.dynamic_shared_bytes = static_cast<std::uint32_t>(artifact.shared_bytes);
    options_.max_shared_bytes = static_cast<std::uint32_t>(properties.shared_bytes_per_block);
    options_.threads = shared_->threads;
    options_.max_warp_instructions = shared_->most_warp_instructions;
  }

  void launch(const Grid& grid, std::span<const std::byte> params, StreamHandle) const override {
    check_grid(grid);
    ptx::LaunchOptions options = options_;
    options.grid = {.x = grid.x, .y = grid.y, .z = grid.z};
    const DeviceMutex::Lock lock(shared_->mutex);
    translate_faults(name_, [&] { return shared_->launcher(module_, *shared_->memory, entry_, params, options); });
  }

 private:
  std::shared_ptr<SharedMachine> shared_;
  std::string name_;
  std::string entry_;
  ptx::Module module_;
  ptx::LaunchOptions options_;
};

/// Launches are synchronous, so a copy that comes after one on any stream can be made at once.
class VirtualPinnedBuffer final : public PinnedBuffer {
 public:
  VirtualPinnedBuffer(Device& device, std::size_t size) : device_(device), bytes_(size) {}
  std::span<std::byte> bytes() noexcept override { return bytes_; }
  void upload_async(Address to, std::size_t count, StreamHandle) override {
    device_.upload(to, std::span(bytes_).first(count));
  }
  bool is_busy() override { return false; }
  void wait() override {}

 private:
  Device& device_;  // outlives it: whoever holds the buffer holds the device
  std::vector<std::byte> bytes_;
};

class VirtualDevice final : public Device {
 public:
  VirtualDevice(const Arch& arch, unsigned threads, std::uint64_t most_warp_instructions,
                std::shared_ptr<ptx::Memory> memory, Launcher launcher, int num_sms)
      : shared_(std::make_shared<SharedMachine>()) {
    if (arch.sm < kOldestArch) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("arch is {}, allowed: sm_80 and later, since the kernels need its instructions",
                              to_string(arch)));
    }
    shared_->memory = std::move(memory);
    shared_->launcher = std::move(launcher);
    shared_->threads = threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency());
    shared_->most_warp_instructions = most_warp_instructions;
    properties_.name = "virtual:" + to_string(Arch{.sm = arch.sm, .suffix = arch.suffix, .ptx_only = false});
    // PTX is all that is run here, and stopping there halves the time to compile.
    properties_.arch = {.sm = arch.sm, .suffix = arch.suffix, .ptx_only = true};
    properties_.num_sms = num_sms > 0 ? num_sms : posed_num_sms(arch);
    properties_.shared_bytes_per_block = posed_shared_bytes_per_block(arch);
    properties_.is_virtual = true;
  }

  const Properties& properties() const noexcept override { return properties_; }
  void require_this_process() const override {}

  std::shared_ptr<const LoadedKernel> load(const Artifact& artifact) override {
    check_artifact(artifact, properties_);
    if (artifact.ptx.empty()) {
      throw Error(ErrorCode::invalid_argument, "artifact.ptx is empty: the virtual device runs PTX, not cubins");
    }
    return std::make_shared<const VirtualKernel>(shared_, properties_, artifact);
  }

  Address allocate(std::size_t bytes) override {
    const DeviceMutex::Lock lock(shared_->mutex);
    return translate_faults("allocate", [&] {
      return shared_->memory->allocate(bytes, fmt::format("buffer {} ({} bytes)", ++num_allocations_, bytes));
    });
  }

  void release(Address address) noexcept override {
    if (address == 0) return;
    try {
      const DeviceMutex::Lock lock(shared_->mutex);
      shared_->memory->release(address);
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch)
      // Not an allocation of this device, so that there is nothing to release; or a forked child's half of a device
      // that was in use, which ends with the child.
    }
  }

  void upload(Address to, std::span<const std::byte> from) override {
    if (from.empty()) return;
    const DeviceMutex::Lock lock(shared_->mutex);
    translate_faults("upload", [&] { shared_->memory->write(to, from); });
  }

  void download(std::span<std::byte> to, Address from) override {
    if (to.empty()) return;
    const DeviceMutex::Lock lock(shared_->mutex);
    translate_faults("download", [&] { shared_->memory->read(from, to); });
  }

  std::unique_ptr<PinnedBuffer> allocate_pinned(std::size_t bytes) override {
    return std::make_unique<VirtualPinnedBuffer>(*this, bytes);
  }

  void synchronize() override { const DeviceMutex::Lock waits_for_a_launch_of_another_thread(shared_->mutex); }

 private:
  std::shared_ptr<SharedMachine> shared_;
  Properties properties_;
  std::uint64_t num_allocations_ = 0;  // under the mutex
};

}  // namespace

}  // namespace virtual_device

std::shared_ptr<Device> open_virtual_device(const Arch& arch, unsigned threads, std::uint64_t most_warp_instructions) {
  return std::make_shared<virtual_device::VirtualDevice>(arch, threads, most_warp_instructions,
                                                         std::make_shared<ptx::Memory>(), ptx::launch, 0);
}

std::shared_ptr<Device> open_virtual_device(const Arch& arch, unsigned threads, std::shared_ptr<ptx::Memory> memory,
                                            Launcher launcher, int num_sms, std::uint64_t most_warp_instructions) {
  return std::make_shared<virtual_device::VirtualDevice>(arch, threads, most_warp_instructions, std::move(memory),
                                                         std::move(launcher), num_sms);
}

}  // namespace librt::device
