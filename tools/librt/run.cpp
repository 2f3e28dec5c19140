// librt run: decode on tensors from a file.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>

#include "src/util/env.hpp"
#include "src/util/files.hpp"
#include "tools/librt/numbers.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/tensor_file.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

struct RunSettings {
  bool json = false;
  std::string input;
  std::string output;
  std::string device;
  int split_pages = 0;
};

/// --device, else LIBRT_DEVICE, else a GPU, else the virtual device. The device is open when this returns.
Runtime runtime_on(const std::string& device) {
  constexpr auto kAuto = "auto";
  Options options = options_from_environment();
  const bool from_environment = device.empty() && util::env("LIBRT_DEVICE");
  if (!from_environment) options.device = device.empty() || device == kAuto ? "cuda:0" : device;
  const bool may_fall_back = !from_environment && (device.empty() || device == kAuto);
  try {
    Runtime runtime(options);
    runtime.device();
    return runtime;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) throw UsageError(error.what());
    if (error.code() != ErrorCode::no_device || !may_fall_back) throw;
  }
  options.device = "virtual:sm_80";
  return Runtime(options);
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int run(const RunSettings& settings) {
  const TensorFile input = read_tensor_file(settings.input);
  const DecodeProblem& problem = input.problem;
  Runtime runtime = runtime_on(settings.device);
  const DeviceInfo device = runtime.device();
  say(fmt::format("{} on {}", to_string(problem.spec), device.name));

  DecodeResult result;
  double get_seconds = 0;
  double decode_seconds = 0;
  std::string origin = "not needed";
  if (problem.batch > 0) {
    ProgressBar bar("getting the kernel");
    const auto begin = std::chrono::steady_clock::now();
    const Kernel kernel = runtime.get(problem.spec);
    get_seconds = seconds_since(begin);
    origin = to_string(kernel.artifact().origin);
    bar.next(fmt::format("running a batch of {} on {}", problem.batch, device.name));
    const auto launched = std::chrono::steady_clock::now();
    result = decode(runtime, kernel, problem, settings.split_pages);
    decode_seconds = seconds_since(launched);
  }
  util::write_file(settings.output, result_file(problem, result));

  const DecodeShape shape = shape_of(problem.spec);
  const auto nan_count = std::count_if(result.out.begin(), result.out.end(),
                                       [&](std::uint16_t bits) { return is_nan(shape.dtype, bits); });
  if (settings.json) {
    print_json(Json{{"output", settings.output},
                    {"spec", to_string(problem.spec)},
                    {"device", device.name},
                    {"batch", problem.batch},
                    {"origin", origin},
                    {"get_seconds", get_seconds},
                    {"decode_seconds", decode_seconds},
                    {"nan_in_output", nan_count}});
  } else {
    say(fmt::format(
        "out [{}, {}, {}] {} and lse [{}, {}] F32 written to {}; {} NaN; kernel {} ({:.2f} s), run {:.2f} s",
        problem.batch, shape.heads, shape.out_dim, shape.dtype == DType::bf16 ? "BF16" : "F16", problem.batch,
        shape.heads, settings.output, nan_count, origin, get_seconds, decode_seconds));
  }
  return kDone;
}

}  // namespace

void add_run(CLI::App& tool, int& exit_code) {
  auto settings = std::make_shared<RunSettings>();
  CLI::App* const verb = add_verb(tool, "run", "Decode on the tensors of a safetensors file",
                                  "librt run batch.safetensors -o out.safetensors --device virtual", settings->json);
  verb->add_option("input", settings->input,
                   "Metadata kernel (gqa_decode, mla_decode), sm_scale, kv_layout (NHD, HND); tensors kv_indptr, "
                   "kv_indices, kv_last_page_len, and q, k_pages, v_pages or q_nope, q_pe, ckv_pages, kpe_pages")
      ->required()
      ->type_name("IN.safetensors");
  verb->add_option("-o,--output", settings->output, "Receives out and lse; written only if all went well")
      ->required()
      ->type_name("OUT.safetensors");
  verb->add_option("--device", settings->device,
                   "auto, cuda:N, virtual or virtual:sm_XX; without it LIBRT_DEVICE, else auto: a GPU, or if there is "
                   "none virtual:sm_80")
      ->type_name("DEVICE");
  verb->add_option("--split-pages", settings->split_pages,
                   "Pages in a split, the same for every request; 0 lets the planner choose")
      ->check(CLI::NonNegativeNumber)
      ->type_name("N");
  verb->callback([settings, &exit_code] { exit_code = run(*settings); });
}

}  // namespace librt::tool
