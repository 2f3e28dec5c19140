// The part of libnvrtc's C interface that librt calls, declared here so that no toolkit header is needed to build.
#pragma once

#include <cstddef>

namespace librt::jit {

using NvrtcProgram = void*;

// nvrtcResult: the values that are told apart.
enum NvrtcResult : int {
  kNvrtcSuccess = 0,
  kNvrtcBuiltinOperationFailure = 7,
};

/// The entry points, named as in the library.
struct NvrtcApi {
  NvrtcResult (*nvrtcVersion)(int* major, int* minor);
  NvrtcResult (*nvrtcGetNumSupportedArchs)(int* count);
  NvrtcResult (*nvrtcGetSupportedArchs)(int* archs);
  const char* (*nvrtcGetErrorString)(NvrtcResult result);
  NvrtcResult (*nvrtcCreateProgram)(NvrtcProgram* program, const char* source, const char* name, int header_count,
                                    const char* const* headers, const char* const* include_names);
  NvrtcResult (*nvrtcDestroyProgram)(NvrtcProgram* program);
  NvrtcResult (*nvrtcCompileProgram)(NvrtcProgram program, int option_count, const char* const* options);
  NvrtcResult (*nvrtcGetProgramLogSize)(NvrtcProgram program, std::size_t* size);
  NvrtcResult (*nvrtcGetProgramLog)(NvrtcProgram program, char* log);
  NvrtcResult (*nvrtcGetPTXSize)(NvrtcProgram program, std::size_t* size);
  NvrtcResult (*nvrtcGetPTX)(NvrtcProgram program, char* ptx);
  NvrtcResult (*nvrtcGetCUBINSize)(NvrtcProgram program, std::size_t* size);
  NvrtcResult (*nvrtcGetCUBIN)(NvrtcProgram program, char* cubin);
  /// Null before NVRTC 12.8. The callback is called now and then during a compile; other than 0 ends it.
  NvrtcResult (*nvrtcSetFlowCallback)(NvrtcProgram program, int (*callback)(void* payload, void* reserved),
                                      void* payload);
};

}  // namespace librt::jit
