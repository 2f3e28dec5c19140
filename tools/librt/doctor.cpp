// librt doctor: what this machine has, and what would help where something is missing.
#include "tools/librt/doctor.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <utility>

#include "src/api/cache_words.hpp"
#include "src/jit/nvrtc_identity.hpp"
#include "src/jit/sources.hpp"
#include "tools/librt/builtin_manifests.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/table.hpp"
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

// The last two have to be there for `librt` to be of use.
constexpr std::string_view kGpu = "gpu", kCompile = "compile", kVirtual = "virtual";

/// Of those that ship: it is the quickest to compile.
Spec merge_spec() {
  for (const Spec& spec : kernel_matrix().specs) {
    if (description(*spec.kind()).internal) return spec;
  }
  throw Error(ErrorCode::internal, "no kernel that joins parts ships");
}

std::string compiles(Options options) {
  options.cache_mode = CacheMode::off;
  Runtime runtime(options);
  const Artifact artifact = runtime.compile(merge_spec(), parse_arch("compute_80"));
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

struct DoctorSettings {
  bool json = false;
  std::string dir;
  std::string device;
};

std::vector<Finding> look(const Options& options) {
  const ProgressBar bar("looking at this machine");
  std::vector<Finding> findings{
      finding("driver", "install NVIDIA's driver; in a container, start it with the GPU made visible", driver_version),
      finding(kGpu, "without one, LIBRT_DEVICE=virtual (or `librt run --device virtual`) runs kernels on the CPU",
              [&] { return gpu(options); }),
      finding(
          "nvrtc",
          "install CUDA's NVRTC 12 or 13 (cuda-nvrtc-13-0 of NVIDIA's own package repository; Debian has none) and set "
          "CUDA_HOME, or, in the active virtual environment, pip install nvidia-cuda-nvrtc; or set LIBRT_NVRTC to "
          "the file",
          [&] { return nvrtc(options); }),
      finding("kernels", "set LIBRT_KERNELS_DIR to the kernels directory of this version, or unset it",
              [&] {
                const jit::KernelSources sources =
                    jit::KernelSources::load(options.kernels_dir, {}, options.cache_trust);
                return fmt::format("{} files, {}", sources.files().size(), sources.origin());
              }),
      finding(kCompile, "make NVRTC available: see the line above", [&] { return compiles(options); }),
      finding(kVirtual, "please report this: the virtual device needs nothing from the machine",
              [&] { return virtual_device(options); })};
  for (Finding& line : look_at_caches(options)) findings.push_back(std::move(line));
  return findings;
}

void print_words(const std::vector<Finding>& findings, const std::vector<Setting>& settings,
                 const std::vector<UnknownVariable>& unknown) {
  Rows rows{{"librt", {"ok", Style::good}, std::string(version())}};
  for (const Finding& line : findings) {
    rows.push_back({line.name, {line.ok ? "ok" : "missing", line.ok ? Style::good : Style::warning}, line.found});
    if (!line.ok) rows.push_back({"", "", "-> " + line.help});
  }
  print(table({{}, {}, {.fit = Fit::wrap}}, rows));
  rows.clear();
  for (const Setting& setting : settings) rows.push_back({setting.variable, setting.value, setting.origin});
  for (const UnknownVariable& each : unknown) {
    rows.push_back({{each.variable, Style::warning},
                    {"nothing reads it", Style::warning},
                    each.meant.empty() ? "" : "did you mean " + each.meant + "?"});
  }
  print("\n" +
        table({{"SETTING"}, {.heading = "VALUE", .fit = Fit::wrap}, {.heading = "FROM", .fit = Fit::wrap}}, rows));
}

std::string conclusion(bool usable, const std::vector<Finding>& findings, const Options& options) {
  if (!usable) return "Kernels cannot be compiled and run here.";
  const auto is_ok = [&](std::string_view name) {
    return std::ranges::any_of(findings, [&](const Finding& line) { return line.name == name && line.ok; });
  };
  // What a program with default options would not get.
  if (!is_ok(kGpu) && !options.device.starts_with("virtual")) {
    return "Kernels can be compiled and cached here, and run on the virtual device only: LIBRT_DEVICE=virtual.";
  }
  return "Kernels can be compiled, cached and run here.";
}

int doctor(const DoctorSettings& typed) {
  Options options = options_from_environment();
  std::map<std::string_view, std::string> overridden;
  if (!typed.dir.empty()) {
    options.cache_dir = std::filesystem::absolute(typed.dir).lexically_normal();
    overridden["LIBRT_CACHE_DIR"] = "--dir";
  }
  if (!typed.device.empty()) {
    options.device = typed.device;
    overridden["LIBRT_DEVICE"] = "--device";
  }
  const std::vector<Finding> findings = look(options);
  const std::vector<Setting> settings = settings_in_use(options, overridden);
  const std::vector<UnknownVariable> unknown = unknown_variables();
  const bool usable = std::ranges::all_of(
      findings, [](const Finding& line) { return line.ok || (line.name != kCompile && line.name != kVirtual); });
  if (typed.json) {
    Json lines = Json::array(), list = Json::array(), unread = Json::array();
    for (const Finding& line : findings) {
      lines.push_back({{"name", line.name}, {"ok", line.ok}, {"found", line.found}, {"help", line.help}});
    }
    for (const Setting& setting : settings) {
      list.push_back({{"variable", setting.variable}, {"value", setting.value}, {"origin", setting.origin}});
    }
    for (const UnknownVariable& each : unknown) unread.push_back({{"variable", each.variable}, {"meant", each.meant}});
    print_json(Json{{"version", version()},
                    {"usable", usable},
                    {"findings", lines},
                    {"settings", list},
                    {"unknown_variables", unread}});
  } else {
    print_words(findings, settings, unknown);
    say(conclusion(usable, findings, options));
  }
  return usable ? kDone : kMachineCannot;
}

}  // namespace

void add_doctor(CLI::App& tool, int& exit_code) {
  auto typed = std::make_shared<DoctorSettings>();
  CLI::App* const verb = add_verb(tool, "doctor",
                                  "Say what is found here: driver, GPU, NVRTC, kernels, cache, and each setting with "
                                  "where it comes from; exit code 3 if kernels cannot be compiled and run",
                                  "librt doctor", typed->json);
  verb->add_option("--dir", typed->dir, "Look at this cache directory")->type_name("DIR");
  verb->add_option("--device", typed->device, "Look at this device: cuda:N, virtual or virtual:sm_XX")
      ->type_name("DEVICE");
  verb->callback([typed, &exit_code] { exit_code = doctor(*typed); });
}

}  // namespace librt::tool
