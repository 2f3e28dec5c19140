#include "src/device/cuda/driver.hpp"

#include <librt/error.hpp>

#include <dlfcn.h>
#include <fmt/format.h>

#include "src/device/cuda/error_names.hpp"

namespace librt::device::cuda {

namespace {

constexpr int kCuda12_0 = 12000;
constexpr int kCuda12_4 = 12040;

std::string format_version(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

class Resolver {
 public:
  explicit Resolver(GetProcAddressFunction get_proc_address) : get_proc_address_(get_proc_address) {}

  template <class FunctionPointer>
  void require(FunctionPointer& slot, const char* name) const {
    const Result result = find(slot, name, kCuda12_0);
    if (result != kSuccess && result != kNotFound)
      throw_no_device(describe_error(fmt::format("cuGetProcAddress(\"{}\")", name), result));
    if (slot == nullptr) {
      throw_no_device(fmt::format("the NVIDIA driver has no {}, which every driver for CUDA 12.0 or later has", name));
    }
  }

  template <class FunctionPointer>
  void request(FunctionPointer& slot, const char* name) const {
    if (find(slot, name, kCuda12_4) != kSuccess) slot = nullptr;
  }

 private:
  template <class FunctionPointer>
  Result find(FunctionPointer& slot, const char* name, int cuda_version) const {
    void* address = nullptr;
    int symbol_status = 0;
    const Result result = get_proc_address_(name, &address, cuda_version, kGetProcAddressLegacyStream, &symbol_status);
    slot = symbol_status == 0 ? reinterpret_cast<FunctionPointer>(address) : nullptr;
    return result;
  }

  GetProcAddressFunction get_proc_address_;
};

DriverApi resolve_all(const Resolver& resolver) {
  DriverApi api;
  resolver.require(api.cuDeviceGetCount, "cuDeviceGetCount");
  resolver.require(api.cuDeviceGet, "cuDeviceGet");
  resolver.require(api.cuDeviceGetName, "cuDeviceGetName");
  resolver.require(api.cuDeviceGetAttribute, "cuDeviceGetAttribute");
  resolver.require(api.cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  resolver.require(api.cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease");
  resolver.require(api.cuCtxGetCurrent, "cuCtxGetCurrent");
  resolver.require(api.cuCtxPushCurrent, "cuCtxPushCurrent");
  resolver.require(api.cuCtxPopCurrent, "cuCtxPopCurrent");
  resolver.require(api.cuCtxSynchronize, "cuCtxSynchronize");
  resolver.require(api.cuStreamSynchronize, "cuStreamSynchronize");
  resolver.require(api.cuStreamIsCapturing, "cuStreamIsCapturing");
  resolver.require(api.cuEventCreate, "cuEventCreate");
  resolver.require(api.cuEventDestroy, "cuEventDestroy");
  resolver.require(api.cuEventRecord, "cuEventRecord");
  resolver.require(api.cuEventQuery, "cuEventQuery");
  resolver.require(api.cuEventSynchronize, "cuEventSynchronize");
  resolver.require(api.cuMemHostAlloc, "cuMemHostAlloc");
  resolver.require(api.cuMemFreeHost, "cuMemFreeHost");
  resolver.require(api.cuMemAlloc, "cuMemAlloc");
  resolver.require(api.cuMemFree, "cuMemFree");
  resolver.require(api.cuMemcpyHtoD, "cuMemcpyHtoD");
  resolver.require(api.cuMemcpyDtoH, "cuMemcpyDtoH");
  resolver.require(api.cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync");
  resolver.require(api.cuLibraryLoadData, "cuLibraryLoadData");
  resolver.require(api.cuLibraryUnload, "cuLibraryUnload");
  resolver.require(api.cuLibraryGetKernel, "cuLibraryGetKernel");
  resolver.require(api.cuKernelGetFunction, "cuKernelGetFunction");
  resolver.require(api.cuKernelSetAttribute, "cuKernelSetAttribute");
  resolver.require(api.cuLaunchKernelEx, "cuLaunchKernelEx");
  resolver.request(api.cuFuncLoad, "cuFuncLoad");
  resolver.request(api.cuKernelGetParamInfo, "cuKernelGetParamInfo");
  return api;
}

}  // namespace

void throw_no_device(const std::string& reason) {
  throw Error(ErrorCode::no_device,
              reason + ". Without a GPU, LIBRT_DEVICE=virtual runs the same kernels on the CPU, slowly.");
}

void check_open(Result result, const char* call) {
  if (result != kSuccess) throw_no_device(describe_error(call, result));
}

void check(Result result, const char* call) {
  if (result != kSuccess) throw Error(ErrorCode::driver, describe_error(call, result));
}

void Driver::CloseLibrary::operator()(void* handle) const noexcept {
  dlclose(handle);
}

// RTLD_NODELETE: the driver has threads and exit handlers of its own, so its code must never be unmapped.
Driver::Driver(const std::string& library) : library_(dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
  if (library_ == nullptr) {
    const char* reason = dlerror();
    throw_no_device(fmt::format("no NVIDIA driver is installed here ({})", reason ? reason : library));
  }
  check_open(find_exported<InitFunction>(library, "cuInit")(0), "cuInit");

  int version = 0;
  check_open(find_exported<DriverGetVersionFunction>(library, "cuDriverGetVersion")(&version), "cuDriverGetVersion");
  version_ = format_version(version);
  if (version < kCuda12_0) {
    throw_no_device(
        fmt::format("the NVIDIA driver supports CUDA up to {}, librt needs one for CUDA 12.0 or later", version_));
  }
  api_ = resolve_all(Resolver(find_exported<GetProcAddressFunction>(library, "cuGetProcAddress_v2")));
}

template <class FunctionPointer>
FunctionPointer Driver::find_exported(const std::string& library, const char* name) const {
  void* address = dlsym(library_.get(), name);
  if (address == nullptr) throw_no_device(fmt::format("{} is no CUDA driver: it has no {}", library, name));
  return reinterpret_cast<FunctionPointer>(address);
}

std::shared_ptr<const Driver> Driver::open(const std::string& library) {
  return std::shared_ptr<const Driver>(new Driver(library));
}

}  // namespace librt::device::cuda
