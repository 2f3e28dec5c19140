// A stand-in for libnvrtc: compiles nothing, and gives back the options it was called with as the log, one a line.
// Where the process has its builtins, as NVRTC looks for them, the last line says so. Where FAKE_NVRTC_FAILS is set, no
// compile works.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "src/jit/nvrtc_api.hpp"

using librt::jit::kNvrtcSuccess;
using librt::jit::NvrtcProgram;
using librt::jit::NvrtcResult;

namespace {

#define TEXT_OF(x) #x
#define NUMBER(x) TEXT_OF(x)
constexpr auto kCompilationError = static_cast<NvrtcResult>(6);
constexpr char kPtx[] = ".version 9.0";
constexpr char kBuiltins[] = "libnvrtc-builtins.so." NUMBER(FAKE_NVRTC_MAJOR) "." NUMBER(FAKE_NVRTC_MINOR);

std::string& log_of(NvrtcProgram program) {
  return *static_cast<std::string*>(program);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

NvrtcResult nvrtcVersion(int* major, int* minor) {
  *major = FAKE_NVRTC_MAJOR;
  *minor = FAKE_NVRTC_MINOR;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetNumSupportedArchs(int* count) {
  *count = 4;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetSupportedArchs(int* archs) {
  // As CUDA 12.8, which knows of sm_100 and sm_120 and not of the other GPUs of their families.
  archs[0] = 80;
  archs[1] = 90;
  archs[2] = 100;
  archs[3] = 120;
  return kNvrtcSuccess;
}

const char* nvrtcGetErrorString(NvrtcResult) {
  return "an error of the stand-in";
}

NvrtcResult nvrtcCreateProgram(NvrtcProgram* program, const char*, const char*, int, const char* const*,
                               const char* const*) {
  *program = new std::string;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcDestroyProgram(NvrtcProgram* program) {
  delete &log_of(*program);
  *program = nullptr;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcCompileProgram(NvrtcProgram program, int option_count, const char* const* options) {
  if (std::getenv("FAKE_NVRTC_FAILS") != nullptr) return kCompilationError;
  for (int i = 0; i < option_count; ++i) log_of(program).append(options[i]).append("\n");
  if (::dlopen(kBuiltins, RTLD_NOW | RTLD_NOLOAD) != nullptr) log_of(program).append("builtins loaded\n");
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetProgramLogSize(NvrtcProgram program, std::size_t* size) {
  *size = log_of(program).size() + 1;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetProgramLog(NvrtcProgram program, char* log) {
  std::memcpy(log, log_of(program).c_str(), log_of(program).size() + 1);
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetPTXSize(NvrtcProgram, std::size_t* size) {
  *size = sizeof kPtx;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetPTX(NvrtcProgram, char* ptx) {
  std::memcpy(ptx, kPtx, sizeof kPtx);
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetCUBINSize(NvrtcProgram, std::size_t* size) {
  *size = 1;
  return kNvrtcSuccess;
}

NvrtcResult nvrtcGetCUBIN(NvrtcProgram, char* cubin) {
  *cubin = 0x7f;
  return kNvrtcSuccess;
}

}  // extern "C"
#pragma GCC visibility pop
