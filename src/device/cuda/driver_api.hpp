// What librt uses of the CUDA Driver API, declared here so that building needs no CUDA header.
//
// The numbers, layouts and signatures are those of CUDA 12.0, which is the oldest driver that librt supports; the
// driver keeps them stable, since it serves programs built against any older header.
#pragma once

#include <cstddef>
#include <cstdint>

namespace librt::device::cuda {

using Result = int;  // CUresult, an unscoped C enum
using DeviceOrdinal = int;
using DevicePointer = std::uint64_t;
using Context = struct ContextTag*;
using Library = struct LibraryTag*;
using KernelHandle = struct KernelTag*;
using Function = struct FunctionTag*;
using Stream = void*;
using Event = struct EventTag*;

inline constexpr Result kSuccess = 0;
inline constexpr Result kOutOfMemory = 2;
inline constexpr Result kNotInitialized = 3;
inline constexpr Result kDeinitialized = 4;
inline constexpr Result kStubLibrary = 34;
inline constexpr Result kDeviceUnavailable = 46;
inline constexpr Result kNoDevice = 100;
inline constexpr Result kInvalidDevice = 101;
inline constexpr Result kInvalidImage = 200;
inline constexpr Result kInvalidContext = 201;
inline constexpr Result kNoBinaryForGpu = 209;
inline constexpr Result kEccUncorrectable = 214;
inline constexpr Result kUnsupportedPtxVersion = 222;
inline constexpr Result kInvalidHandle = 400;
inline constexpr Result kNotFound = 500;
inline constexpr Result kIllegalAddress = 700;
inline constexpr Result kIllegalInstruction = 715;
inline constexpr Result kMisalignedAddress = 716;
inline constexpr Result kLaunchFailed = 719;
inline constexpr Result kNotReady = 600;
inline constexpr Result kNotPermitted = 800;
inline constexpr Result kSystemNotReady = 802;
inline constexpr Result kSystemDriverMismatch = 803;
inline constexpr Result kStreamCaptureUnsupported = 900;
inline constexpr Result kStreamCaptureWrongThread = 908;

inline constexpr int kAttributeMultiprocessorCount = 16;
inline constexpr int kAttributeComputeCapabilityMajor = 75;
inline constexpr int kAttributeComputeCapabilityMinor = 76;
inline constexpr int kAttributeMaxSharedMemoryPerBlockOptin = 97;
inline constexpr int kFunctionAttributeMaxDynamicSharedBytes = 8;

inline constexpr unsigned kHostAllocPortable = 1;  // pinned for every context
inline constexpr unsigned kEventDisableTiming = 2;
inline constexpr int kCaptureNone = 0;

inline constexpr std::uint64_t kGetProcAddressLegacyStream = 1;  // a null stream is the legacy default stream

struct LaunchConfig {  // CUlaunchConfig
  unsigned grid_x, grid_y, grid_z;
  unsigned block_x, block_y, block_z;
  unsigned shared_bytes;
  Stream stream;
  void* attributes;
  unsigned num_attributes;
};

using InitFunction = Result (*)(unsigned flags);
using DriverGetVersionFunction = Result (*)(int* version);
using GetProcAddressFunction = Result (*)(const char* symbol, void** function, int cuda_version, std::uint64_t flags,
                                          int* symbol_status);

/// One pointer per entry point, named as cuGetProcAddress knows it. Those marked optional may be null.
struct DriverApi {
  Result (*cuDeviceGetCount)(int* count) = nullptr;
  Result (*cuDeviceGet)(DeviceOrdinal* device, int ordinal) = nullptr;
  Result (*cuDeviceGetName)(char* name, int length, DeviceOrdinal device) = nullptr;
  Result (*cuDeviceGetAttribute)(int* value, int attribute, DeviceOrdinal device) = nullptr;
  Result (*cuDevicePrimaryCtxRetain)(Context* context, DeviceOrdinal device) = nullptr;
  Result (*cuDevicePrimaryCtxRelease)(DeviceOrdinal device) = nullptr;
  Result (*cuCtxGetCurrent)(Context* context) = nullptr;
  Result (*cuCtxPushCurrent)(Context context) = nullptr;
  Result (*cuCtxPopCurrent)(Context* context) = nullptr;
  Result (*cuCtxSynchronize)() = nullptr;
  Result (*cuStreamSynchronize)(Stream stream) = nullptr;
  Result (*cuStreamIsCapturing)(Stream stream, int* status) = nullptr;
  Result (*cuEventCreate)(Event* event, unsigned flags) = nullptr;
  Result (*cuEventDestroy)(Event event) = nullptr;
  Result (*cuEventRecord)(Event event, Stream stream) = nullptr;
  Result (*cuEventQuery)(Event event) = nullptr;
  Result (*cuEventSynchronize)(Event event) = nullptr;
  Result (*cuMemHostAlloc)(void** memory, std::size_t bytes, unsigned flags) = nullptr;
  Result (*cuMemFreeHost)(void* memory) = nullptr;
  Result (*cuMemAlloc)(DevicePointer* address, std::size_t bytes) = nullptr;
  Result (*cuMemFree)(DevicePointer address) = nullptr;
  Result (*cuMemcpyHtoD)(DevicePointer to, const void* from, std::size_t bytes) = nullptr;
  Result (*cuMemcpyDtoH)(void* to, DevicePointer from, std::size_t bytes) = nullptr;
  Result (*cuMemcpyHtoDAsync)(DevicePointer to, const void* from, std::size_t bytes, Stream stream) = nullptr;
  Result (*cuLibraryLoadData)(Library* library, const void* code, int* jit_options, void** jit_values,
                              unsigned num_jit_options, int* library_options, void** library_values,
                              unsigned num_library_options) = nullptr;
  Result (*cuLibraryUnload)(Library library) = nullptr;
  Result (*cuLibraryGetKernel)(KernelHandle* kernel, Library library, const char* name) = nullptr;
  Result (*cuKernelGetFunction)(Function* function, KernelHandle kernel) = nullptr;
  Result (*cuKernelSetAttribute)(int attribute, int value, KernelHandle kernel, DeviceOrdinal device) = nullptr;
  Result (*cuLaunchKernelEx)(const LaunchConfig* config, Function function, void** parameters, void** extra) = nullptr;
  Result (*cuFuncLoad)(Function function) = nullptr;  // optional: CUDA 12.4
  Result (*cuKernelGetParamInfo)(KernelHandle kernel, std::size_t index, std::size_t* offset,
                                 std::size_t* bytes) = nullptr;  // optional: CUDA 12.4
};

}  // namespace librt::device::cuda
