// The side of the fake driver that librt talks to: the entry points, with the real ones' names and signatures.
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "src/device/cuda/driver_api.hpp"
#include "tests/support/fake_cuda/state.hpp"

namespace fake_cuda {

namespace {

namespace cuda = librt::device::cuda;

constexpr Result kInvalidValue = 1;
constexpr int kSymbolNotFound = 1;
constexpr int kSharedBytesWithoutAttribute = 48 * 1024;
constexpr int kFirstWithFuncLoad = 12040;
// What the toolkits up to CUDA 13 write into a cubin's ELF header.
constexpr unsigned char kNewestCubinAbi = 8;

const Gpu* gpu_at(const State& s, cuda::DeviceOrdinal device) {
  return device >= 0 && static_cast<std::size_t>(device) < s.machine.gpus.size()
             ? &s.machine.gpus[static_cast<std::size_t>(device)]
             : nullptr;
}

std::size_t parameter_bytes(const State& s, const Library& library) {
  const auto found = s.machine.parameter_bytes_of.find(library.kernel_name);
  return found != s.machine.parameter_bytes_of.end() ? found->second : s.machine.kernel_parameter_bytes;
}

/// The stream, if it is being captured.
Stream* capturing(const State& s, cuda::Stream stream) {
  const auto found = s.streams.find(static_cast<Stream*>(stream));
  return found != s.streams.end() && (*found)->is_capturing ? *found : nullptr;
}

bool is_allocated(const State& s, std::uint64_t address, std::size_t bytes) {
  const auto after = s.allocations.upper_bound(address);
  if (after == s.allocations.begin()) return false;
  const auto& [start, memory] = *std::prev(after);
  return address - start <= memory.bytes && bytes <= memory.bytes - (address - start);
}

Result device_get_count(int* count) {
  return enter("cuDeviceGetCount", [&](State& s) {
    *count = static_cast<int>(s.machine.gpus.size());
    return cuda::kSuccess;
  });
}

Result device_get(cuda::DeviceOrdinal* device, int ordinal) {
  return enter("cuDeviceGet", [&](State& s) {
    if (gpu_at(s, ordinal) == nullptr) return cuda::kInvalidDevice;
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

Result device_get_attribute(int* value, int attribute, cuda::DeviceOrdinal device) {
  return enter("cuDeviceGetAttribute", [&](State& s) {
    const Gpu* const gpu = gpu_at(s, device);
    if (gpu == nullptr) return cuda::kInvalidDevice;
    switch (attribute) {
      case cuda::kAttributeMultiprocessorCount:
        *value = gpu->num_sms;
        return cuda::kSuccess;
      case cuda::kAttributeComputeCapabilityMajor:
        *value = gpu->compute_major;
        return cuda::kSuccess;
      case cuda::kAttributeComputeCapabilityMinor:
        *value = gpu->compute_minor;
        return cuda::kSuccess;
      case cuda::kAttributeMaxSharedMemoryPerBlockOptin:
        *value = gpu->shared_bytes_per_block;
        return cuda::kSuccess;
      default:
        return kInvalidValue;
    }
  });
}

Result primary_retain(const void** context, cuda::DeviceOrdinal device) {
  return enter("cuDevicePrimaryCtxRetain", [&](State& s) {
    ++s.retained_contexts;
    *context = primary_context(device);
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
  return enter_outside_capture("cuCtxSynchronize", [](State& s) {
    s.perform_all();
    return cuda::kSuccess;
  });
}

Result stream_synchronize(cuda::Stream) {
  return enter_outside_capture("cuStreamSynchronize", [](State& s) {
    s.perform_all();
    return cuda::kSuccess;
  });
}

Result stream_is_capturing(cuda::Stream stream, int* status) {
  return enter_with_context("cuStreamIsCapturing", [&](State& s) {
    *status = capturing(s, stream) != nullptr ? 1 : cuda::kCaptureNone;
    return cuda::kSuccess;
  });
}

Result event_create(Event** event, unsigned) {
  return enter_with_context("cuEventCreate", [&](State& s) {
    *event = *s.events.insert(new Event).first;
    return cuda::kSuccess;
  });
}

Result event_destroy(Event* event) {
  return enter_with_context("cuEventDestroy", [&](State& s) {
    if (s.events.erase(event) == 0) return cuda::kInvalidHandle;
    delete event;
    return cuda::kSuccess;
  });
}

Result event_record(Event* event, cuda::Stream) {
  return enter_with_context("cuEventRecord", [&](State& s) {
    if (!s.events.contains(event)) return cuda::kInvalidHandle;
    event->after = s.performed + s.pending.size();
    return cuda::kSuccess;
  });
}

Result event_query(Event* event) {
  return enter_with_context("cuEventQuery", [&](State& s) {
    if (!s.events.contains(event)) return cuda::kInvalidHandle;
    return event->after <= s.performed ? cuda::kSuccess : cuda::kNotReady;
  });
}

Result event_synchronize(Event* event) {
  return enter_with_context("cuEventSynchronize", [&](State& s) {
    if (!s.events.contains(event)) return cuda::kInvalidHandle;
    s.perform(event->after);
    return cuda::kSuccess;
  });
}

Result mem_host_alloc(void** memory, std::size_t bytes, unsigned) {
  return enter_outside_capture("cuMemHostAlloc", [&](State& s) {
    auto allocated = std::make_unique<std::byte[]>(bytes);
    *memory = allocated.get();
    s.pinned.emplace(*memory, std::move(allocated));
    return cuda::kSuccess;
  });
}

Result mem_free_host(void* memory) {
  return enter_outside_capture("cuMemFreeHost", [&](State& s) {
    s.perform_all();
    return s.pinned.erase(memory) == 1 ? cuda::kSuccess : kInvalidValue;
  });
}

Result mem_alloc(cuda::DevicePointer* address, std::size_t bytes) {
  return enter_outside_capture("cuMemAlloc", [&](State& s) {
    if (bytes == 0) return kInvalidValue;
    Allocation memory(bytes);
    *address = reinterpret_cast<std::uintptr_t>(memory.memory.get());
    s.allocations.emplace(*address, std::move(memory));
    return cuda::kSuccess;
  });
}

Result mem_free(cuda::DevicePointer address) {
  return enter_outside_capture("cuMemFree", [&](State& s) {
    s.perform_all();
    return s.allocations.erase(address) == 1 ? cuda::kSuccess : kInvalidValue;
  });
}

Result memcpy_to_device(cuda::DevicePointer to, const void* from, std::size_t bytes) {
  return enter_outside_capture("cuMemcpyHtoD", [&](State& s) {
    if (!is_allocated(s, to, bytes)) return kInvalidValue;
    s.perform_all();
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return cuda::kSuccess;
  });
}

Result memcpy_to_host(void* to, cuda::DevicePointer from, std::size_t bytes) {
  return enter_outside_capture("cuMemcpyDtoH", [&](State& s) {
    if (!is_allocated(s, from, bytes)) return kInvalidValue;
    s.perform_all();
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return cuda::kSuccess;
  });
}

Result memcpy_to_device_async(cuda::DevicePointer to, const void* from, std::size_t bytes, cuda::Stream stream) {
  return enter_with_context("cuMemcpyHtoDAsync", [&](State& s) {
    if (!is_allocated(s, to, bytes)) return kInvalidValue;
    const Copy copy{.device_address = to, .bytes = bytes, .stream = stream};
    if (Stream* const captured = capturing(s, stream)) {
      captured->graph.copies.push_back({.copy = copy, .from = from});
      return cuda::kSuccess;
    }
    s.enqueue(copy, from);
    return cuda::kSuccess;
  });
}

// A library and its kernel are one object here.
Result library_load(Library** library, const void* code, int*, void**, unsigned, int*, void**, unsigned) {
  return enter("cuLibraryLoadData", [&](State& s) {
    const auto* text = static_cast<const char*>(code);
    constexpr std::size_t kAbiVersion = 8;
    if (std::string_view(text, strnlen(text, 4)) ==
            "\x7f"
            "ELF" &&
        static_cast<unsigned char>(text[kAbiVersion]) > kNewestCubinAbi) {
      return cuda::kInvalidImage;
    }
    s.libraries.push_back({.first_bytes = std::string(text, strnlen(text, 16)),
                           .kernel_name = {},
                           .max_dynamic_shared_bytes = {},
                           .functions = {}});
    *library = &s.libraries.back();
    s.live_libraries.insert(*library);
    return cuda::kSuccess;
  });
}

Result library_unload(Library* library) {
  return enter("cuLibraryUnload",
               [&](State& s) { return s.live_libraries.erase(library) == 1 ? cuda::kSuccess : cuda::kInvalidHandle; });
}

Result library_get_kernel(Library** kernel, Library* library, const char* name) {
  return enter("cuLibraryGetKernel", [&](State& s) {
    if (!s.is_live(library)) return cuda::kInvalidHandle;
    library->kernel_name = name;
    *kernel = library;
    return cuda::kSuccess;
  });
}

// Where there is no cuFuncLoad, this loads in full; later drivers leave it to cuFuncLoad or to the first launch.
Result kernel_get_function(Function** function, Library* kernel) {
  return enter_with_context("cuKernelGetFunction", [&](State& s) {
    const int device = device_of(current_context());
    if (!s.is_live(kernel)) return cuda::kInvalidHandle;
    if (device < 0) return cuda::kInvalidContext;
    const auto [found, is_new] = kernel->functions.try_emplace(device);
    if (is_new) {
      found->second = {.library = kernel, .device = device, .is_loaded = s.machine.driver_version < kFirstWithFuncLoad};
    }
    *function = &found->second;
    return cuda::kSuccess;
  });
}

Result kernel_set_attribute(int attribute, int value, Library* kernel, cuda::DeviceOrdinal device) {
  return enter("cuKernelSetAttribute", [&](State& s) {
    const Gpu* const gpu = gpu_at(s, device);
    if (gpu == nullptr) return cuda::kInvalidDevice;
    if (attribute != cuda::kFunctionAttributeMaxDynamicSharedBytes || value > gpu->shared_bytes_per_block) {
      return kInvalidValue;
    }
    kernel->max_dynamic_shared_bytes[device] = value;
    return cuda::kSuccess;
  });
}

Result kernel_get_param_info(Library* kernel, std::size_t index, std::size_t* offset, std::size_t* bytes) {
  return enter("cuKernelGetParamInfo", [&](State& s) {
    if (index != 0) return kInvalidValue;
    *offset = 0;
    *bytes = parameter_bytes(s, *kernel);
    return cuda::kSuccess;
  });
}

Result func_load(Function* function) {
  return enter_outside_capture("cuFuncLoad", [&](State&) {
    function->is_loaded = true;
    return cuda::kSuccess;
  });
}

Result launch_kernel(const cuda::LaunchConfig* config, Function* function, void** parameters, void**) {
  return enter_with_context("cuLaunchKernelEx", [&](State& s) {
    if (!s.is_live(function->library) || function->device != device_of(current_context())) return cuda::kInvalidHandle;
    const auto attribute = function->library->max_dynamic_shared_bytes.find(function->device);
    const int allowed = attribute == function->library->max_dynamic_shared_bytes.end() ? kSharedBytesWithoutAttribute
                                                                                       : attribute->second;
    if (static_cast<int>(config->shared_bytes) > allowed) return kInvalidValue;
    Stream* const captured = capturing(s, config->stream);
    if (captured != nullptr && !function->is_loaded) {
      captured->is_invalidated = true;
      return cuda::kStreamCaptureUnsupported;
    }
    function->is_loaded = true;
    const auto* bytes = static_cast<const std::byte*>(parameters[0]);
    Launch launch{.grid = {config->grid_x, config->grid_y, config->grid_z},
                  .block = {config->block_x, config->block_y, config->block_z},
                  .shared_bytes = config->shared_bytes,
                  .stream = config->stream,
                  .num_attributes = config->num_attributes,
                  .context = current_context(),
                  .kernel_name = function->library->kernel_name,
                  .parameters = {bytes, bytes + parameter_bytes(s, *function->library)},
                  .watched = {}};
    if (captured != nullptr) {
      captured->graph.launches.push_back(std::move(launch));
    } else {
      s.enqueue(std::move(launch));
    }
    return cuda::kSuccess;
  });
}

template <class FunctionPointer>
Entry entry(std::string_view name, FunctionPointer function, int since = 12000) {
  return {.name = name, .address = reinterpret_cast<void*>(function), .since = since};
}

/// All that librt may ask cuGetProcAddress for.
const std::vector<Entry>& resolved_entries() {
  static const std::vector<Entry>& all = *new std::vector<Entry>{
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
      entry("cuStreamIsCapturing", stream_is_capturing),
      entry("cuEventCreate", event_create),
      entry("cuEventDestroy", event_destroy),
      entry("cuEventRecord", event_record),
      entry("cuEventQuery", event_query),
      entry("cuEventSynchronize", event_synchronize),
      entry("cuMemHostAlloc", mem_host_alloc),
      entry("cuMemFreeHost", mem_free_host),
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
      entry("cuFuncLoad", func_load, kFirstWithFuncLoad),
      entry("cuKernelGetParamInfo", kernel_get_param_info, 12040),
  };
  return all;
}

const Entry* find_entry(std::string_view name) {
  for (const auto* entries : {&resolved_entries(), &capture_entries()}) {
    const auto found = std::ranges::find(*entries, name, &Entry::name);
    if (found != entries->end()) return &*found;
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> entries() {
  std::vector<std::string> names = {"cuInit", "cuDriverGetVersion", "cuGetProcAddress"};
  for (const Entry& each : resolved_entries()) names.emplace_back(each.name);
  return names;
}

extern "C" {

FAKE_CUDA_API Result cuInit(unsigned) {
  return enter("cuInit", [](State& s) {
    if (s.machine.gpus.empty()) return cuda::kNoDevice;
    s.initialised_by = ::getpid();
    return cuda::kSuccess;
  });
}

FAKE_CUDA_API Result cuDriverGetVersion(int* version) {
  return enter("cuDriverGetVersion", [&](State& s) {
    *version = s.machine.driver_version;
    return cuda::kSuccess;
  });
}

FAKE_CUDA_API Result cuGetProcAddress_v2(const char* symbol, void** function, int cuda_version, std::uint64_t,
                                         int* symbol_status) {
  const Busy busy;
  State& s = state();
  if (const Result refused = refusal(s); refused != cuda::kSuccess) return refused;
  const std::scoped_lock lock(s.mutex);
  if (const Result failed = failure_of(s, "cuGetProcAddress"); failed != cuda::kSuccess) return failed;
  if (cuda_version > s.machine.driver_version) return kInvalidValue;
  const Entry* found = s.hidden.contains(symbol) ? nullptr : find_entry(symbol);
  if (found != nullptr && found->since > cuda_version) found = nullptr;
  *function = found != nullptr ? found->address : nullptr;
  *symbol_status = found != nullptr ? 0 : kSymbolNotFound;
  return cuda::kSuccess;
}

}  // extern "C"

}  // namespace fake_cuda
