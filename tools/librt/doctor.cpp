// librt doctor: what this machine has, and what would help where something is missing.
#include "tools/librt/doctor.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <memory>
#include <utility>

#include "src/api/cache_words.hpp"
#include "src/jit/nvrtc_identity.hpp"
#include "src/jit/sources.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

std::string driver_version() {
  const std::unique_ptr<void, int (*)(void*)> library(dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL), dlclose);
  if (!library) throw std::runtime_error("libcuda.so.1 is not found by the loader");
  using GetVersion = int (*)(int*);
  const auto get_version = reinterpret_cast<GetVersion>(dlsym(library.get(), "cuDriverGetVersion"));
  int version = 0;
  if (get_version == nullptr || get_version(&version) != 0) {
    throw std::runtime_error("libcuda.so.1 is there, but it is not a working driver (a stub?)");
  }
  return fmt::format("libcuda.so.1 for CUDA {}.{}", version / 1000, version % 1000 / 10);
}

std::string describe(const DeviceInfo& device) {
  return fmt::format("{}, {} multiprocessors, {} of shared memory for a block", device.name, device.num_sms,
                     with_unit(static_cast<std::uint64_t>(device.shared_bytes_per_block)));
}

std::string gpu(Options options) {
  if (options.device.starts_with("virtual")) options.device = "cuda:0";
  return describe(Runtime(options).device());
}

std::string nvrtc(const Options& options) {
  const jit::NvrtcIdentity identity = jit::identify_nvrtc(options.nvrtc);
  if (identity.builtins_path.empty()) {
    throw std::runtime_error(
        fmt::format("{} is there, but the libnvrtc-builtins of its version is not beside it", identity.path));
  }
  return fmt::format("{}, version {}, build {}, builtins {}; found by {}", identity.path, identity.version,
                     identity.build_id.substr(0, 16), identity.builtins_build_id.substr(0, 16), identity.origin);
}

constexpr GqaDecodeSpec kSmallSpec{
    .dtype = DType::bf16, .num_qo_heads = 1, .num_kv_heads = 1, .head_dim = 64, .page_size = 16};

std::string compiles(Options options) {
  options.cache_mode = CacheMode::off;
  Runtime runtime(options);
  const Artifact artifact = runtime.compile_merge(kSmallSpec, parse_arch("compute_80"));
  return fmt::format("{} for {} in {:.0f} ms", artifact.kernel, to_string(artifact.arch), artifact.compile_ms);
}

std::string virtual_device(Options options) {
  options.device = "virtual:sm_80";
  Runtime runtime(options);
  const std::array<int, 4> sent{1, 2, 3, 4};
  std::array<int, 4> received{};
  const Buffer buffer = runtime.upload(std::span<const int>(sent));
  runtime.download(std::as_writable_bytes(std::span(received)), buffer);
  if (received != sent) throw std::runtime_error("its memory does not keep what is written");
  return describe(runtime.device());
}

int doctor(bool json) {
  const Options options = options_from_environment();
  const Finding compile =
      finding("compile", "make NVRTC available: see the line above", [&] { return compiles(options); });
  const Finding machine = finding("virtual", "please report this: the virtual device needs nothing from the machine",
                                  [&] { return virtual_device(options); });
  std::vector<Finding> findings{
      finding("driver", "install NVIDIA's driver; in a container, start it with the GPU made visible", driver_version),
      finding("gpu", "without one, LIBRT_DEVICE=virtual (or `librt run --device virtual`) runs kernels on the CPU",
              [&] { return gpu(options); }),
      finding("nvrtc",
              "install CUDA's NVRTC 12 or 13 (Debian: cuda-nvrtc-13-0) and set CUDA_HOME, or, in the active virtual "
              "environment, pip install nvidia-cuda-nvrtc; or set LIBRT_NVRTC to the file",
              [&] { return nvrtc(options); }),
      finding("kernels", "set LIBRT_KERNELS_DIR to the kernels directory of this version, or unset it",
              [&] {
                const jit::KernelSources sources =
                    jit::KernelSources::load(options.kernels_dir, {}, api::trust_of(options.cache_trust));
                return fmt::format("{} files, {}", sources.files().size(), sources.origin());
              }),
      compile,
      machine,
  };
  for (Finding& line : look_at_caches(options)) findings.push_back(std::move(line));
  const bool usable = compile.ok && machine.ok;
  if (json) {
    Json lines = Json::array();
    for (const Finding& line : findings) {
      lines.push_back({{"name", line.name}, {"ok", line.ok}, {"found", line.found}, {"help", line.help}});
    }
    print_json(Json{{"version", version()}, {"usable", usable}, {"findings", lines}});
  } else {
    std::vector<std::vector<std::string>> rows{{"librt", "ok", std::string(version())}};
    for (const Finding& line : findings) {
      rows.push_back({line.name, line.ok ? "ok" : "missing", line.found});
      if (!line.ok) rows.push_back({"", "", "-> " + line.help});
    }
    print(table(rows));
    say(usable ? "Kernels can be compiled, cached and run here." : "Kernels cannot be compiled and run here.");
  }
  return usable ? kDone : kMachineCannot;
}

}  // namespace

void add_doctor(CLI::App& tool, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* const verb = add_verb(tool, "doctor",
                                  "Say what is found here: driver, GPU, NVRTC, kernels, cache; exit code 3 "
                                  "if kernels cannot be compiled and run",
                                  "librt doctor", *json);
  verb->callback([json, &exit_code] { exit_code = doctor(*json); });
}

}  // namespace librt::tool
