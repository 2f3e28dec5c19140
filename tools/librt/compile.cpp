// librt compile: one specialization to a cubin or PTX file, for any architecture, without a GPU.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <span>
#include <utility>

#include "src/jit/binary_info.hpp"
#include "src/util/files.hpp"
#include "src/util/text.hpp"
#include "tools/librt/help_examples.hpp"
#include "tools/librt/output_file.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/table.hpp"
#include "tools/librt/typed.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

struct CompileSettings {
  bool json = false;
  std::vector<std::string> words;
  std::string arch;
  std::string output;
  bool ptx = false;
  std::string ptx_path;
  bool source = false;
};

std::optional<KernelResources> resources_of(const Artifact& artifact) {
  if (artifact.cubin.empty()) return {};
  for (const jit::CubinKernel& kernel : jit::read_cubin(artifact.cubin).kernels) {
    if (kernel.name == artifact.entry) return kernel.resources;
  }
  return {};
}

Json to_json(const Artifact& artifact, double total_ms) {
  Json json{{"key", artifact.key},
            {"kernel", artifact.kernel},
            {"spec", Json::parse(artifact.spec, nullptr, false)},
            {"target", to_string(artifact.arch)},
            {"entry", artifact.entry},
            {"origin", to_string(artifact.origin)},
            {"total_ms", total_ms},
            {"compile_ms", artifact.compile_ms},
            {"cubin_bytes", artifact.cubin.size()},
            {"ptx_bytes", artifact.ptx.size()},
            {"block_threads", artifact.block_threads},
            {"dynamic_shared_bytes", artifact.shared_bytes}};
  if (const auto resources = resources_of(artifact)) {
    json["registers"] = resources->registers;
    json["static_shared_bytes"] = resources->static_shared_bytes;
    json["stack_bytes"] = resources->stack_bytes;
  }
  return json;
}

std::string summary(const Artifact& artifact, double total_ms) {
  const std::string origin = artifact.origin == Origin::compiled
                                 ? fmt::format("compiled in {:.0f} ms", artifact.compile_ms)
                                 : fmt::format("{} hit", to_string(artifact.origin));
  Rows rows{{"kernel", fmt::format("{} {}", artifact.kernel, spec_words(artifact.spec))},
            {"target", to_string(artifact.arch)},
            {"key", artifact.key},
            {"origin", origin},
            {"time", fmt::format("{:.1f} ms", total_ms)},
            {"size", fmt::format("cubin {}, PTX {}", with_unit(artifact.cubin.size()), with_unit(artifact.ptx.size()))},
            {"block", fmt::format("{} threads, {} of dynamic shared memory", artifact.block_threads,
                                  with_unit(static_cast<std::uint64_t>(artifact.shared_bytes)))}};
  if (const auto resources = resources_of(artifact)) {
    rows.push_back(
        {"thread", fmt::format("{} registers, {} B of stack", resources->registers, resources->stack_bytes)});
  }
  return table(rows);
}

int compile(const CompileSettings& settings) {
  const Spec spec = typed_spec(settings.words);
  const Arch arch = typed_arch(settings.arch);
  const Options options = options_from_environment();
  for (const auto& [option, path] : {std::pair("-o", settings.output), std::pair("--ptx", settings.ptx_path)}) {
    if (!path.empty()) require_output(option, path, files_of(options));
  }
  if (!settings.output.empty() && !settings.ptx_path.empty() && same_file(settings.output, settings.ptx_path)) {
    throw UsageError(fmt::format("-o and --ptx both name {}", util::shown(settings.output, 1024)));
  }
  Runtime runtime(options);

  const bool wants_files = !settings.output.empty() || settings.ptx;
  if (settings.source && !wants_files) {
    const std::string source = runtime.source(spec, arch);
    settings.json ? print_json(Json{{"source", source}}) : print(source);
    return kDone;
  }

  const auto begin = std::chrono::steady_clock::now();
  const Artifact artifact = [&] {
    const ProgressBar bar(fmt::format("compiling {} for {}", kernel_name(spec), to_string(arch)));
    return runtime.compile(spec, arch);
  }();
  const double total_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();

  const auto ptx_bytes = std::as_bytes(std::span(artifact.ptx));
  const bool output_is_ptx = arch.ptx_only || (settings.ptx && settings.ptx_path.empty());
  Json files = Json::object();
  if (!settings.output.empty()) {
    util::write_file(settings.output, output_is_ptx ? ptx_bytes : std::span<const std::byte>(artifact.cubin));
    files[output_is_ptx ? "ptx" : "cubin"] = settings.output;
  }
  if (!settings.ptx_path.empty()) {
    util::write_file(settings.ptx_path, ptx_bytes);
    files["ptx"] = settings.ptx_path;
  }

  const bool ptx_to_stdout = settings.ptx && settings.ptx_path.empty() && settings.output.empty();
  if (settings.json) {
    Json json = to_json(artifact, total_ms);
    json["files"] = files;
    if (ptx_to_stdout) json["ptx"] = artifact.ptx;
    if (settings.source) json["source"] = artifact.source;
    print_json(json);
    return kDone;
  }
  if (settings.source) print(artifact.source);
  if (ptx_to_stdout) print(artifact.ptx);
  const std::string text = summary(artifact, total_ms);
  const bool stdout_is_taken = settings.source || ptx_to_stdout;
  stdout_is_taken ? say(text) : print(text);
  for (const auto& [kind, path] : files.items()) say(fmt::format("{} written to {}", kind, path.get<std::string>()));
  return kDone;
}

/// A line for each kernel: what has to be given.
std::string required_members() {
  std::string text;
  for (const KernelKind* const kind : kernel_kinds()) {
    text += fmt::format("\n  {}", description(*kind).name);
    for (const Field& field : description(*kind).fields) {
      if (!field.default_value && field.default_field.empty()) text += fmt::format(" {}=", field.name);
    }
  }
  return text;
}

}  // namespace

void add_compile(CLI::App& tool, int& exit_code) {
  auto settings = std::make_shared<CompileSettings>();
  CLI::App* const verb = add_verb(tool, "compile", "Compile one specialization to a cubin or PTX file; needs no GPU",
                                  help::kCompileExample, settings->json);
  verb->add_option("KERNEL", settings->words,
                   "The kernel's name, then its members as key=value in any order:" + required_members())
      ->required()
      ->type_name("key=value");
  verb->add_option("--arch", settings->arch, "sm_XX[a|f] for a cubin, compute_XX for PTX alone")
      ->required()
      ->type_name("ARCH");
  verb->add_option("-o,--output", settings->output, "Write the cubin (of compute_XX: the PTX) to this file")
      ->check([](const std::string& path) { return path.empty() ? "it is empty" : ""; })
      ->type_name("FILE");
  verb->add_flag("--ptx", settings->ptx_path,
                 "Give the PTX instead of the cubin: to -o, or else to stdout; --ptx=FILE writes it there, besides");
  verb->add_flag("--source", settings->source,
                 "Print the program that NVRTC gets; without -o or --ptx nothing is compiled");
  verb->callback([settings, verb, &exit_code] {
    settings->ptx = verb->count("--ptx") > 0;
    if (settings->ptx_path == "true") settings->ptx_path.clear();  // what a flag without a value is given
    exit_code = compile(*settings);
  });
}

}  // namespace librt::tool
