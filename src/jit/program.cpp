#include "src/jit/program.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "src/util/hash.hpp"
#include "src/util/text.hpp"

namespace librt::jit {
namespace {

using nlohmann::json;

// Bump on any change of the key's fields, of an entry's metadata or of what src/api derives from a spec.
constexpr int kSchema = 1;

constexpr std::string_view kArchOption = "-arch=";
// Keeps NVRTC from looking for a driver and from its own hidden cache; changes no byte of the output.
constexpr std::string_view kNoCache = "-no-cache";
// NVRTC caches what it compiles, and knows how not to, from this version on.
constexpr std::pair kFirstWithCache(12, 9);
// It changes no byte of what our kernels compile to, so that older ones, some of which refuse it, do without.
constexpr std::string_view kMinimal = "-minimal";
constexpr int kFirstMajorWithMinimal = 13;

constexpr std::array<std::string_view, 4> kFixedOptions = {"--std=c++17", kMinimal, "-default-device", kNoCache};
// Only an assembler reports registers and spills: none runs for compute_XX.
constexpr std::string_view kReport = "-Xptxas=-v";

bool is_known(std::string_view option, int nvrtc_major) {
  return option != kMinimal || nvrtc_major >= kFirstMajorWithMinimal;
}

/// Debug code and fast compiles, in any spelling: NVRTC keeps them on for all that the process compiles after.
bool is_lasting(std::string_view option) {
  const std::string_view name = option.substr(std::min(option.find_first_not_of('-'), option.size()));
  return name == "G" || name.starts_with("device-debug") || name.starts_with("Ofc") ||
         name.starts_with("Ofast-compile");
}

void check_allowed(const std::string& option) {
  if (is_lasting(option)) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("NVRTC option \"{}\" is refused: it changes the code of every later compile in this process",
                    option));
  }
  if (option.starts_with(kArchOption) || option == kReport || option == "-lineinfo" ||
      std::find(kFixedOptions.begin(), kFixedOptions.end(), option) != kFixedOptions.end()) {
    return;
  }
  throw Error(ErrorCode::invalid_argument, fmt::format("NVRTC option \"{}\" is not among those allowed", option));
}

bool is_identifier(std::string_view text) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), is_word);
}

}  // namespace

std::optional<std::string> text_problem(const std::string& traits, const std::string& arguments) {
  if (!is_identifier(traits)) {
    return fmt::format("traits {}; allowed: an identifier", util::in_quotes(traits));
  }
  if (arguments.find_first_of("\n;{}\"#\\") != std::string::npos) {
    return fmt::format("arguments {}; allowed: one line of C++ without ; {{ }} \" # \\", util::in_quotes(arguments));
  }
  return std::nullopt;
}

Program make_program(const Specialization& specialization, const Arch& arch) {
  const std::string& kernel = specialization.kernel;
  if (!is_identifier(kernel)) {
    throw Error(ErrorCode::internal, fmt::format("kernel \"{}\" is not an identifier", kernel));
  }
  if (const auto problem = text_problem(specialization.traits, specialization.arguments)) {
    throw Error(ErrorCode::internal, *problem);
  }
  const json spec = json::parse(specialization.spec_json, nullptr, false);
  if (spec.is_discarded()) {
    throw Error(ErrorCode::internal, fmt::format("spec \"{}\" is not JSON", specialization.spec_json));
  }
  Program program{.arch = arch,
                  .entry = "librt_" + kernel,
                  .header = fmt::format("{0}/{0}.cuh", kernel),
                  .source = {},
                  .options = {std::string(kArchOption) + to_string(arch)},
                  .spec_json = spec.dump()};
  program.source = fmt::format(
      R"(#include "{header}"
using Traits = librt::device::{traits}<{arguments}>;
extern "C" __global__ void __launch_bounds__(Traits::kThreads, Traits::kMinBlocks)
{entry}(const __grid_constant__ Traits::Params params) {{
  librt::device::{kernel}<Traits>(params);
}}
)",
      fmt::arg("header", program.header), fmt::arg("traits", specialization.traits),
      fmt::arg("arguments", specialization.arguments), fmt::arg("entry", program.entry), fmt::arg("kernel", kernel));
  program.options.insert(program.options.end(), kFixedOptions.begin(), kFixedOptions.end());
  if (!arch.ptx_only) program.options.emplace_back(kReport);
  return program;
}

std::vector<std::string> nvrtc_options(const std::vector<std::string>& wanted, int nvrtc_major, int nvrtc_minor) {
  std::vector<std::string> options;
  for (const std::string& option : wanted) {
    check_allowed(option);
    if (option != kNoCache && is_known(option, nvrtc_major)) options.push_back(option);
  }
  const bool has_cache = std::pair(nvrtc_major, nvrtc_minor) >= kFirstWithCache;
  if (has_cache) options.emplace_back(kNoCache);
  return options;
}

std::vector<util::KeyField> key_fields(const Program& program, const KernelSources& sources,
                                       const NvrtcIdentity* compiler) {
  json options = json::array();
  for (const std::string& option : program.options) {
    if (option != kNoCache) options.push_back(option);
  }
  json names = json::array();
  names.push_back(program.entry);
  std::vector<util::KeyField> fields{{"schema", json(kSchema).dump()},
                                     {"target", json(to_string(program.arch)).dump()},
                                     {"source", json(util::to_hex(util::hash(program.source))).dump()},
                                     {"headers", sources.digests_json(program.header)},
                                     {"options", options.dump()},
                                     {"names", names.dump()}};
  if (compiler != nullptr) {
    json identity = json::object();
    identity["name"] = "nvrtc";
    identity["version"] = compiler->version;
    identity["build_id"] = compiler->build_id;
    identity["builtins_build_id"] = compiler->builtins_build_id;
    fields.push_back({"compiler", identity.dump()});
  }
  fields.push_back({"spec", program.spec_json});
  return fields;
}

}  // namespace librt::jit
