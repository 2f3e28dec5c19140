// librt run: decode on tensors from a file.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <system_error>

#include "src/reference/numbers.hpp"
#include "src/util/env.hpp"
#include "src/util/files.hpp"
#include "src/util/text.hpp"
#include "tools/librt/builtin_manifests.hpp"
#include "tools/librt/help_examples.hpp"
#include "tools/librt/output_file.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/sample_batch.hpp"
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
  std::vector<std::string> example;  // the file, and perhaps the kernel
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

/// Of the kernel, or of the first one that has a sample: a small one of what ships.
Spec sample_spec(const std::string& kernel) {
  std::vector<std::string_view> names;
  for (const BuiltInManifest& each : built_in_manifests()) {
    if (!is_kernel(each)) continue;
    const Spec first = parse_manifest(each.text, each.path).specs.front();
    if (description(*first.kind()).split == nullptr) continue;
    names.push_back(each.name);
    if (!kernel.empty() && each.name != kernel) continue;
    const Spec spec = first.with("page_size", kSamplePageSize);
    const auto with_kv_heads = description(*spec.kind()).with_kv_heads;
    return with_kv_heads == nullptr ? spec : with_kv_heads(spec, 2);
  }
  throw UsageError(fmt::format("--example: the kernel {} is not known; allowed: {}", util::in_quotes(kernel),
                               fmt::join(names, ", ")));
}

int write_example(const RunSettings& settings) {
  const std::string& path = settings.example[0];
  const Spec spec = sample_spec(settings.example.size() > 1 ? settings.example[1] : "");
  const reference::Batch batch = reference::fill_padding(sample_batch(spec), reference::Poison::quiet_nan);
  std::error_code error;
  if (path.empty()) throw UsageError("--example names no file");
  if (std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::not_found) {
    throw UsageError(fmt::format("--example: {} is there already, and stays as it is", util::shown(path, 1024)));
  }
  try {
    util::write_new_file(path, batch_file(problem_of(batch)));
  } catch (const Error& failure) {
    throw UsageError(fmt::format("--example: {}", failure.what()));
  }
  if (settings.json) {
    print_json(Json{{"output", path}, {"spec", to_string(spec)}});
  } else {
    say(fmt::format("{}: one request of {} tokens in pages of {}, with NaN in every slot that no token fills, for {}",
                    path, kSampleTokens, kSamplePageSize, to_string(spec)));
  }
  return kDone;
}

/// What is not supported is the file's problem here: main() takes it for what another machine can.
TensorFile read_batch(const std::string& path) {
  try {
    return read_tensor_file(path);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    throw Error(ErrorCode::invalid_argument, error.what(), error.detail());
  }
}

/// Of a kernel that takes no plan.
int run_operands(const RunSettings& settings, const TensorFile& input) {
  const OperandLaunch& launch = *input.launch;
  Runtime runtime = runtime_on(settings.device);
  const DeviceInfo device = runtime.device();
  say(fmt::format("{} on {}", to_string(launch.spec), device.name));
  const Kernel kernel = runtime.get(launch.spec);
  util::write_file(settings.output, run_operands(runtime, kernel, launch));
  const std::string origin(to_string(kernel.artifact().origin));
  std::vector<std::string> updated;
  for (std::size_t i = 0; i < launch.arguments.size(); ++i) {
    if (description(*launch.spec.kind()).operands[i].access != Access::read) {
      updated.push_back(launch.arguments[i].name);
    }
  }
  if (settings.json) {
    print_json(Json{{"output", settings.output},
                    {"spec", to_string(launch.spec)},
                    {"device", device.name},
                    {"origin", origin},
                    {"updated", updated},
                    {"ignored", input.ignored}});
  } else {
    say(fmt::format("{} written to {}; kernel {}", fmt::join(updated, " and "), settings.output, origin));
  }
  return kDone;
}

int run(const RunSettings& settings) {
  if (!settings.example.empty()) return write_example(settings);
  if (settings.input.empty()) throw CLI::RequiredError("IN.safetensors");
  if (settings.output.empty()) throw CLI::RequiredError("--output");
  std::vector<std::string> read = files_of(options_from_environment());
  read.push_back(settings.input);
  require_output("-o", settings.output, read);
  const TensorFile input = read_batch(settings.input);
  for (const std::string& each : input.ignored) say(each);
  if (input.launch) return run_operands(settings, input);
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
  const auto nan_count = std::count_if(result.out.begin(), result.out.end(), [&](std::uint16_t bits) {
    return std::isnan(reference::to_double(bits, shape.dtype));
  });
  if (settings.json) {
    print_json(Json{{"output", settings.output},
                    {"spec", to_string(problem.spec)},
                    {"device", device.name},
                    {"batch", problem.batch},
                    {"origin", origin},
                    {"get_seconds", get_seconds},
                    {"decode_seconds", decode_seconds},
                    {"nan_in_output", nan_count},
                    {"ignored", input.ignored}});
  } else {
    say(fmt::format(
        "out [{}, {}, {}] {} and lse [{}, {}] F32 written to {}; {} NaN; kernel {} ({:.2f} s), run {:.2f} s",
        problem.batch, shape.heads, shape.out_dim, shape.dtype == DType::bf16 ? "BF16" : "F16", problem.batch,
        shape.heads, settings.output, nan_count, origin, get_seconds, decode_seconds));
  }
  return kDone;
}

/// The tensors of kernels that take no plan, as their tables have them.
std::string tensors_without_plan() {
  std::string text;
  for (const KernelKind* const kind : kernel_kinds()) {
    const KernelDescription& kernel = description(*kind);
    if (kernel.split != nullptr) continue;
    text += fmt::format("\n\n{}, which updates its pages in place; no sm_scale:\n", kernel.name);
    for (const Operand& operand : kernel.operands) {
      if (operand.form == Form::count) continue;
      const bool is_tensor = operand.element != "i32";
      text += fmt::format("\n  {} [{}] {}", operand.name, fmt::join(operand.shape, ", "),
                          is_tensor ? "BF16 or F16" : "I32");
      if (!operand.aliases.empty()) text += fmt::format(", or {}", operand.aliases);
      if (operand.access != Access::read) text += "; in the output, too";
    }
  }
  return text;
}

}  // namespace

void add_run(CLI::App& tool, int& exit_code) {
  auto settings = std::make_shared<RunSettings>();
  CLI::App* const verb = add_verb(tool, "run", "Decode on the tensors of a safetensors file",
                                  std::string(help::kRunExamples) + tensors_without_plan(), settings->json);
  const auto not_empty = [](const std::string& path) { return path.empty() ? "it is empty" : ""; };
  verb->add_option("input", settings->input, "The batch: see below")->check(not_empty)->type_name("IN.safetensors");
  verb->add_option("-o,--output", settings->output, "Receives out and lse; written only if all went well")
      ->check(not_empty)
      ->type_name("OUT.safetensors");
  verb->add_option("--device", settings->device,
                   "auto, cuda:N, virtual or virtual:sm_XX; without it LIBRT_DEVICE, else auto: a GPU, or if there is "
                   "none virtual:sm_80")
      ->type_name("DEVICE");
  verb->add_option("--split-pages", settings->split_pages,
                   "Pages in a split, the same for every request; 0 lets the planner choose")
      ->check(CLI::Range(0, std::numeric_limits<int>::max()))
      ->type_name("N");
  CLI::Option* const example = verb->add_option("--example", settings->example,
                                                "Only write a small batch to start from, for that kernel or the first "
                                                "one; FILE must not be there yet")
                                   ->expected(1, 2)
                                   ->type_name("FILE [KERNEL]");
  for (const char* const other : {"input", "--output", "--device", "--split-pages"}) {
    example->excludes(verb->get_option(other));
  }
  verb->callback([settings, &exit_code] { exit_code = run(*settings); });
}

}  // namespace librt::tool
