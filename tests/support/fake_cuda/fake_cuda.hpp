// A stand-in for libcuda.so.1, for tests: device memory is host memory, kernels are recorded and not run, asynchronous
// copies are made when somebody waits for them, and every entry can be made to fail. Built as a shared object of that
// very name; a test program links it, so that dlopen of libcuda.so.1 finds it loaded already. Thread safe.
//
// It is as strict as the driver where librt could err unseen: code is loaded lazily and not during a capture, kernels'
// attributes belong to a device, a forked child gets CUDA_ERROR_NOT_INITIALIZED, and after shut_down() nothing works.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#define FAKE_CUDA_API __attribute__((visibility("default")))

namespace fake_cuda {

/// Back to a healthy machine with one GPU of compute capability 9.0, an empty log and no live objects.
FAKE_CUDA_API void reset();

/// From now on `entry` (named as in the log) does nothing and returns `code`.
FAKE_CUDA_API void fail(std::string_view entry, int code);
/// As fail(), for one call: the `nth` from now on, counted from 1.
FAKE_CUDA_API void fail_call(std::string_view entry, int nth, int code);
/// Nothing fails any more.
FAKE_CUDA_API void heal();
/// cuGetProcAddress no longer knows `entry`.
FAKE_CUDA_API void hide(std::string_view entry);
/// The driver has ended, as happens when the process exits: every entry returns CUDA_ERROR_DEINITIALIZED.
FAKE_CUDA_API void shut_down();

struct Gpu {
  int compute_major = 9;
  int compute_minor = 0;
  int num_sms = 132;
  int shared_bytes_per_block = 232448;
};

struct Machine {
  int driver_version = 13000;
  std::vector<Gpu> gpus = {Gpu{}};
  std::size_t kernel_parameter_bytes = 16;
  std::map<std::string, std::size_t, std::less<>> parameter_bytes_of{};  ///< by the kernel's name, where it differs
};
FAKE_CUDA_API void set_machine(const Machine& machine);

/// Names of all entries that librt calls.
FAKE_CUDA_API std::vector<std::string> entries();

/// Names of the calls since reset(), in order; cuGetProcAddress is left out.
FAKE_CUDA_API std::vector<std::string> calls();
/// How often `entry` was called since reset(); cuGetProcAddress counts too.
FAKE_CUDA_API std::size_t count(std::string_view entry);
FAKE_CUDA_API int calls_after_shut_down();
/// Calls in a child of the process that called cuInit first. To be asked in the child.
FAKE_CUDA_API int calls_after_fork();
/// Whether the calling thread is inside an entry.
FAKE_CUDA_API bool is_busy();

struct Launch {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void* stream;
  unsigned num_attributes;
  const void* context;  ///< current on the launching thread
  std::string kernel_name;
  std::vector<std::byte> parameters;
  std::vector<std::byte> watched;  ///< the bytes that watch() names, as the launch would find them
};
/// Device memory that launches are to look at when they are performed.
FAKE_CUDA_API void watch(std::uint64_t device_address, std::size_t bytes);
/// In the order of execution: a captured launch counts when its graph is launched.
FAKE_CUDA_API std::vector<Launch> launches();

/// What was loaded and set up, as the driver saw it.
struct LoadedCode {
  std::string first_bytes{};  ///< of the image, up to its first zero, at most 16
  std::string kernel_name{};
  std::map<int, int> max_dynamic_shared_bytes{};  ///< by device
  std::map<int, bool> is_loaded{};                ///< by device: in full, so that a launch has nothing left to load
};
FAKE_CUDA_API std::vector<LoadedCode> loaded_code();

struct Copy {
  std::uint64_t device_address;
  std::size_t bytes;
  void* stream;
};
FAKE_CUDA_API std::vector<Copy> async_copies();

/// Objects that are alive.
struct Outstanding {
  int allocations = 0;
  int pinned = 0;
  int events = 0;
  int libraries = 0;
  int contexts = 0;       ///< retained and not released
  int context_depth = 0;  ///< pushed on the calling thread and not popped
};
FAKE_CUDA_API Outstanding outstanding();

/// Makes a context that is not librt's current on the calling thread, and returns it.
FAKE_CUDA_API const void* push_foreign_context();
FAKE_CUDA_API const void* current_context();
FAKE_CUDA_API const void* primary_context(int device = 0);

}  // namespace fake_cuda
