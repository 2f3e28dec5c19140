// The side of the fake driver that librt talks to: the entry points, with the real ones' names and signatures.
#include <algorithm>
#include <cstring>

#include "src/device/cuda/driver_api.hpp"
#include "tests/support/fake_cuda/state.hpp"

namespace fake_cuda {

namespace {

namespace cuda = librt::device::cuda;
using cuda::Result;

constexpr Result kInvalidValue = 1;
constexpr Result kInvalidDevice = 101;
constexpr Result kInvalidContext = 201;
constexpr int kSymbolNotFound = 1;

/// Runs an entry's body under the lock, unless the test made the entry fail. Every call is logged first.
template <class Body>
Result enter(const char* name, Body&& body) {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  s.calls.emplace_back(name);
  const auto failing = s.failing.find(name);
  return failing != s.failing.end() ? failing->second : body(s);
}

/// As enter(), for entries that need a current context.
template <class Body>
Result enter_with_context(const char* name, Body&& body) {
  return enter(name, [&](State& s) { return context_stack().empty() ? kInvalidContext : body(s); });
}

bool is_allocated(const State& s, std::uint64_t address, std::size_t bytes) {
  const auto after = s.allocations.upper_bound(address);
  if (after == s.allocations.begin()) return false;
  const auto& [start, memory] = *std::prev(after);
  return address - start <= memory.size() && bytes <= memory.size() - (address - start);
}

Result device_get_count(int* count) {
  return enter("cuDeviceGetCount", [&](State& s) {
    *count = s.machine.num_gpus;
    return cuda::kSuccess;
  });
}

Result device_get(cuda::DeviceOrdinal* device, int ordinal) {
  return enter("cuDeviceGet", [&](State& s) {
    if (ordinal < 0 || ordinal >= s.machine.num_gpus) return kInvalidDevice;
    *device = ordinal;
    return cuda::kSuccess;
  });
}

Result device_get_name(char* name, int length, cuda::DeviceOrdinal) {
  return enter("cuDeviceGetName", [&](State&) {
    std::strncpy(name, "Fake GPU", static_cast<std::size_t>(length));
    return cuda::kSuccess;
  });
}

Result device_get_attribute(int* value, int attribute, cuda::DeviceOrdinal) {
  return enter("cuDeviceGetAttribute", [&](State& s) {
    switch (attribute) {
      case cuda::kAttributeMultiprocessorCount:
        *value = s.machine.num_sms;
        return cuda::kSuccess;
      case cuda::kAttributeComputeCapabilityMajor:
        *value = s.machine.compute_major;
        return cuda::kSuccess;
      case cuda::kAttributeComputeCapabilityMinor:
        *value = s.machine.compute_minor;
        return cuda::kSuccess;
      case cuda::kAttributeMaxSharedMemoryPerBlockOptin:
        *value = s.machine.shared_bytes_per_block;
        return cuda::kSuccess;
      default:
        return kInvalidValue;
    }
  });
}

Result primary_retain(const void** context, cuda::DeviceOrdinal) {
  return enter("cuDevicePrimaryCtxRetain", [&](State& s) {
    ++s.retained_contexts;
    *context = primary_context();
    return cuda::kSuccess;
  });
}

Result primary_release(cuda::DeviceOrdinal) {
  return enter("cuDevicePrimaryCtxRelease", [&](State& s) {
    --s.retained_contexts;
    return cuda::kSuccess;
  });
}

Result ctx_get_current(const void** context) {
  return enter("cuCtxGetCurrent", [&](State&) {
    *context = current_context();
    return cuda::kSuccess;
  });
}

Result ctx_push(const void* context) {
  return enter("cuCtxPushCurrent", [&](State&) {
    context_stack().push_back(context);
    return cuda::kSuccess;
  });
}

Result ctx_pop(const void** context) {
  return enter_with_context("cuCtxPopCurrent", [&](State&) {
    *context = context_stack().back();
    context_stack().pop_back();
    return cuda::kSuccess;
  });
}

Result ctx_synchronize() {
  return enter_with_context("cuCtxSynchronize", [](State&) { return cuda::kSuccess; });
}

Result stream_synchronize(cuda::Stream) {
  return enter_with_context("cuStreamSynchronize", [](State&) { return cuda::kSuccess; });
}

Result mem_alloc(cuda::DevicePointer* address, std::size_t bytes) {
  return enter_with_context("cuMemAlloc", [&](State& s) {
    if (bytes == 0) return kInvalidValue;
    std::vector<std::byte> memory(bytes);
    *address = reinterpret_cast<std::uintptr_t>(memory.data());
    s.allocations.emplace(*address, std::move(memory));
    return cuda::kSuccess;
  });
}

Result mem_free(cuda::DevicePointer address) {
  return enter_with_context(
      "cuMemFree", [&](State& s) { return s.allocations.erase(address) == 1 ? cuda::kSuccess : kInvalidValue; });
}

Result memcpy_to_device(cuda::DevicePointer to, const void* from, std::size_t bytes) {
  return enter_with_context("cuMemcpyHtoD", [&](State& s) {
    if (!is_allocated(s, to, bytes)) return kInvalidValue;
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return cuda::kSuccess;
  });
}

Result memcpy_to_host(void* to, cuda::DevicePointer from, std::size_t bytes) {
  return enter_with_context("cuMemcpyDtoH", [&](State& s) {
    if (!is_allocated(s, from, bytes)) return kInvalidValue;
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return cuda::kSuccess;
  });
}

Result memcpy_to_device_async(cuda::DevicePointer to, const void* from, std::size_t bytes, cuda::Stream stream) {
  return enter_with_context("cuMemcpyHtoDAsync", [&](State& s) {
    if (!is_allocated(s, to, bytes)) return kInvalidValue;
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    s.async_copies.push_back({.device_address = to, .bytes = bytes, .stream = stream});
    return cuda::kSuccess;
  });
}

// A library, its kernel and the kernel's function are one object here.
Result library_load(LoadedCode** library, const void* code, int*, void**, unsigned, int*, void**, unsigned) {
  return enter("cuLibraryLoadData", [&](State& s) {
    const auto* text = static_cast<const char*>(code);
    s.loaded_code.push_back(
        {.first_bytes = std::string(text, strnlen(text, 16)), .kernel_name = {}, .max_dynamic_shared_bytes = 0});
    *library = &s.loaded_code.back();
    s.live_libraries.insert(*library);
    return cuda::kSuccess;
  });
}

Result library_unload(LoadedCode* library) {
  return enter("cuLibraryUnload",
               [&](State& s) { return s.live_libraries.erase(library) == 1 ? cuda::kSuccess : cuda::kInvalidHandle; });
}

Result library_get_kernel(LoadedCode** kernel, LoadedCode* library, const char* name) {
  return enter("cuLibraryGetKernel", [&](State& s) {
    if (!s.live_libraries.contains(library)) return cuda::kInvalidHandle;
    library->kernel_name = name;
    *kernel = library;
    return cuda::kSuccess;
  });
}

Result kernel_get_function(LoadedCode** function, LoadedCode* kernel) {
  return enter_with_context("cuKernelGetFunction", [&](State&) {
    *function = kernel;
    return cuda::kSuccess;
  });
}

Result kernel_set_attribute(int attribute, int value, LoadedCode* kernel, cuda::DeviceOrdinal) {
  return enter("cuKernelSetAttribute", [&](State&) {
    if (attribute != cuda::kFunctionAttributeMaxDynamicSharedBytes) return kInvalidValue;
    kernel->max_dynamic_shared_bytes = value;
    return cuda::kSuccess;
  });
}

Result kernel_get_param_info(LoadedCode*, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return enter("cuKernelGetParamInfo", [&](State& s) {
    if (index != 0) return kInvalidValue;
    *offset = 0;
    *bytes = s.machine.kernel_parameter_bytes;
    return cuda::kSuccess;
  });
}

Result func_load(LoadedCode*) {
  return enter_with_context("cuFuncLoad", [](State&) { return cuda::kSuccess; });
}

Result launch_kernel(const cuda::LaunchConfig* config, LoadedCode* function, void** parameters, void**) {
  return enter_with_context("cuLaunchKernelEx", [&](State& s) {
    if (!s.live_libraries.contains(function)) return cuda::kInvalidHandle;
    const auto* bytes = static_cast<const std::byte*>(parameters[0]);
    s.launches.push_back({.grid = {config->grid_x, config->grid_y, config->grid_z},
                          .block = {config->block_x, config->block_y, config->block_z},
                          .shared_bytes = config->shared_bytes,
                          .stream = config->stream,
                          .num_attributes = config->num_attributes,
                          .context = current_context(),
                          .parameters = {bytes, bytes + s.machine.kernel_parameter_bytes}});
    return cuda::kSuccess;
  });
}

struct Entry {
  std::string_view name;
  void* address;
  int since;  // CUDA version
};

template <class FunctionPointer>
Entry entry(std::string_view name, FunctionPointer function, int since = 12000) {
  return {name, reinterpret_cast<void*>(function), since};
}

const Entry* find_entry(std::string_view name) {
  static const std::vector<Entry> entries = {
      entry("cuDeviceGetCount", device_get_count),
      entry("cuDeviceGet", device_get),
      entry("cuDeviceGetName", device_get_name),
      entry("cuDeviceGetAttribute", device_get_attribute),
      entry("cuDevicePrimaryCtxRetain", primary_retain),
      entry("cuDevicePrimaryCtxRelease", primary_release),
      entry("cuCtxGetCurrent", ctx_get_current),
      entry("cuCtxPushCurrent", ctx_push),
      entry("cuCtxPopCurrent", ctx_pop),
      entry("cuCtxSynchronize", ctx_synchronize),
      entry("cuStreamSynchronize", stream_synchronize),
      entry("cuMemAlloc", mem_alloc),
      entry("cuMemFree", mem_free),
      entry("cuMemcpyHtoD", memcpy_to_device),
      entry("cuMemcpyDtoH", memcpy_to_host),
      entry("cuMemcpyHtoDAsync", memcpy_to_device_async),
      entry("cuLibraryLoadData", library_load),
      entry("cuLibraryUnload", library_unload),
      entry("cuLibraryGetKernel", library_get_kernel),
      entry("cuKernelGetFunction", kernel_get_function),
      entry("cuKernelSetAttribute", kernel_set_attribute),
      entry("cuLaunchKernelEx", launch_kernel),
      entry("cuFuncLoad", func_load, 12040),
      entry("cuKernelGetParamInfo", kernel_get_param_info, 12040),
  };
  const auto found = std::ranges::find(entries, name, &Entry::name);
  return found == entries.end() ? nullptr : &*found;
}

}  // namespace

extern "C" {

FAKE_CUDA_API Result cuInit(unsigned) {
  return enter("cuInit", [](State& s) { return s.machine.num_gpus > 0 ? cuda::kSuccess : cuda::kNoDevice; });
}

FAKE_CUDA_API Result cuDriverGetVersion(int* version) {
  return enter("cuDriverGetVersion", [&](State& s) {
    *version = s.machine.driver_version;
    return cuda::kSuccess;
  });
}

FAKE_CUDA_API Result cuGetProcAddress_v2(const char* symbol, void** function, int cuda_version, std::uint64_t,
                                         int* symbol_status) {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  if (const auto failing = s.failing.find("cuGetProcAddress"); failing != s.failing.end()) return failing->second;
  if (cuda_version > s.machine.driver_version) return kInvalidValue;
  const Entry* found = s.hidden.contains(symbol) ? nullptr : find_entry(symbol);
  if (found != nullptr && found->since > cuda_version) found = nullptr;
  *function = found != nullptr ? found->address : nullptr;
  *symbol_status = found != nullptr ? 0 : kSymbolNotFound;
  return cuda::kSuccess;
}

}  // extern "C"

}  // namespace fake_cuda
