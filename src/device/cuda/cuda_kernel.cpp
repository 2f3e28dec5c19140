#include "src/device/cuda/cuda_kernel.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <string_view>

#include "src/device/checks.hpp"
#include "src/device/cuda/error_names.hpp"

namespace librt::device::cuda {

namespace {

int compute_capability(const Properties& properties) {
  return properties.arch.sm;
}

void check_arch(const Artifact& artifact, const Properties& properties) {
  const int device_sm = compute_capability(properties);
  if (can_run(artifact.arch, device_sm)) return;
  throw Error(ErrorCode::unsupported,
              fmt::format("{} was compiled for {}, which {} (compute capability {}.{}) cannot run: compile it for {}",
                          artifact.kernel, to_string(artifact.arch), properties.name, device_sm / 10, device_sm % 10,
                          to_string(properties.arch)));
}

/// The toolkit that made a cubin or a PTX text, as both name it; empty if they do not.
std::string made_by(const Artifact& artifact) {
  constexpr std::string_view kSigned = "Cuda compilation tools, release ";
  const std::string_view code =
      artifact.cubin.empty()
          ? std::string_view(artifact.ptx)
          : std::string_view(reinterpret_cast<const char*>(artifact.cubin.data()), artifact.cubin.size());
  const std::size_t found = code.find(kSigned);
  if (found == std::string_view::npos) return {};
  const std::string_view rest = code.substr(found + kSigned.size());
  return std::string(rest.substr(0, rest.find_first_not_of("0123456789.")));
}

/// "12.4" as 12004; 0 for anything else.
int version_number(const std::string& version) {
  int major = 0;
  int minor = 0;
  return std::sscanf(version.c_str(), "%d.%d", &major, &minor) == 2 ? major * 1000 + minor : 0;
}

bool knows_code_of(const std::string& driver, const std::string& maker) {
  return !maker.empty() && version_number(maker) <= version_number(driver);
}

/// What to make of a driver that does not take the code.
std::string advice(const std::string& maker, const std::string& driver) {
  const std::string versions = fmt::format("The driver supports CUDA up to {}, the code was made by {}", driver,
                                           maker.empty() ? "an unknown toolkit" : "NVRTC " + maker);
  if (knows_code_of(driver, maker)) return versions + ": it may be damaged";
  return fmt::format("{}: {}update the driver, or point LIBRT_NVRTC at the libnvrtc of CUDA {} or older", versions,
                     maker.empty() ? "if that one was newer, " : "", driver);
}

/// For the calls of load(): any of them may be the one in which a lazily loading driver meets code it cannot use.
void check_load(Result result, const char* call, const Artifact& artifact, const Driver& driver) {
  if (result == kSuccess) return;
  const std::string message = fmt::format("loading {} (entry \"{}\") for {}: {}", artifact.kernel, artifact.entry,
                                          to_string(artifact.arch), describe_error(call, result));
  if (!may_be_the_code(result)) throw Error(ErrorCode::driver, message);
  const std::string maker = made_by(artifact);
  throw RefusedCode(fmt::format("{}. {}", message, advice(maker, driver.version())),
                    maker.empty() || knows_code_of(driver.version(), maker));
}

}  // namespace

bool can_run(const Arch& code, int device_sm) noexcept {
  if (code.suffix == 'a') return code.sm == device_sm;
  const bool same_major = code.sm / 10 == device_sm / 10;
  if (code.sm > device_sm) return false;
  return same_major || (code.ptx_only && code.suffix == 0);
}

CudaKernel::CudaKernel(std::shared_ptr<const PrimaryContext> context, const Properties& properties,
                       const Artifact& artifact)
    : context_(std::move(context)) {
  check_artifact(artifact, properties);
  check_arch(artifact, properties);
  block_threads_ = static_cast<unsigned>(artifact.block_threads);
  shared_bytes_ = static_cast<unsigned>(artifact.shared_bytes);

  const ContextScope scope(*context_);
  load_library(artifact);
  try {
    prepare(artifact);
  } catch (...) {
    unload();
    throw;
  }
}

CudaKernel::~CudaKernel() {
  unload();
}

void CudaKernel::load_library(const Artifact& artifact) {
  // Text must end in a zero, which std::string guarantees; the driver tells PTX from a cubin by itself and copies both.
  const void* code = artifact.cubin.empty() ? static_cast<const void*>(artifact.ptx.c_str()) : artifact.cubin.data();
  if (artifact.cubin.empty() && artifact.ptx.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "artifact.cubin and artifact.ptx are both empty: there is nothing to load");
  }
  check_load(context_->api().cuLibraryLoadData(&library_, code, nullptr, nullptr, 0, nullptr, nullptr, 0),
             "cuLibraryLoadData", artifact, context_->driver());
}

void CudaKernel::prepare(const Artifact& artifact) {
  const DriverApi& api = context_->api();
  const auto check_call = [&](Result result, const char* call) {
    check_load(result, call, artifact, context_->driver());
  };
  KernelHandle kernel = nullptr;
  check_call(api.cuLibraryGetKernel(&kernel, library_, artifact.entry.c_str()), "cuLibraryGetKernel");
  // Without this a launch is held to 48 KiB. The attribute belongs to one kernel of one library on one device, and the
  // library is ours alone, so nobody else's value can be overwritten.
  if (shared_bytes_ > 0) {
    check_call(api.cuKernelSetAttribute(kFunctionAttributeMaxDynamicSharedBytes, artifact.shared_bytes, kernel,
                                        context_->device()),
               "cuKernelSetAttribute(MAX_DYNAMIC_SHARED_SIZE_BYTES)");
  }
  check_call(api.cuKernelGetFunction(&function_, kernel), "cuKernelGetFunction");
  // Lazy loading would otherwise load the code in the first launch, which may be inside the capture of a CUDA graph.
  if (api.cuFuncLoad != nullptr) check_call(api.cuFuncLoad(function_), "cuFuncLoad");
  if (api.cuKernelGetParamInfo != nullptr) {
    std::size_t offset = 0;
    check_call(api.cuKernelGetParamInfo(kernel, 0, &offset, &params_bytes_), "cuKernelGetParamInfo");
  }
}

void CudaKernel::unload() noexcept {
  if (library_ != nullptr && context_->usable_in_this_process()) context_->api().cuLibraryUnload(library_);
  library_ = nullptr;
}

void CudaKernel::launch(const Grid& grid, std::span<const std::byte> params, StreamHandle stream) const {
  check_grid(grid);
  if (params_bytes_ != 0 && params.size() != params_bytes_) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("params has {} bytes, the kernel takes {}", params.size(), params_bytes_));
  }
  // The driver copies from here before it returns and never writes, whatever the C signature says.
  void* first_parameter = const_cast<std::byte*>(params.data());
  void* parameters[] = {first_parameter};
  const LaunchConfig config{.grid_x = grid.x,
                            .grid_y = grid.y,
                            .grid_z = grid.z,
                            .block_x = block_threads_,
                            .block_y = 1,
                            .block_z = 1,
                            .shared_bytes = shared_bytes_,
                            .stream = stream,
                            .attributes = nullptr,
                            .num_attributes = 0};
  const ContextScope scope(*context_);
  check(context_->api().cuLaunchKernelEx(&config, function_, parameters, nullptr), "cuLaunchKernelEx");
}

}  // namespace librt::device::cuda
