#include "src/jit/program.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string_view>

#include "src/util/hash.hpp"

namespace librt::jit {
namespace {

using nlohmann::json;

// Bump on any change of the key's fields, of an entry's metadata or of what src/api derives from a spec.
constexpr int kSchema = 1;

constexpr std::string_view kArchOption = "-arch=";
// Keeps NVRTC from looking for a driver and from its own hidden cache; changes no byte of the output.
constexpr std::string_view kNoCache = "-no-cache";

constexpr std::array<std::string_view, 4> kFixedOptions = {"--std=c++17", "-minimal", "-default-device", kNoCache};
// Only an assembler reports registers and spills: none runs for compute_XX.
constexpr std::string_view kReport = "-Xptxas=-v";

bool is_identifier(std::string_view text) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && !(text[0] >= '0' && text[0] <= '9') && std::all_of(text.begin(), text.end(), is_word);
}

}  // namespace

Program make_program(const Specialization& specialization, const Arch& arch) {
  const std::string& kernel = specialization.kernel;
  if (!is_identifier(kernel) || !is_identifier(specialization.traits)) {
    throw Error(ErrorCode::internal,
                fmt::format("kernel \"{}\" or traits \"{}\" is not an identifier", kernel, specialization.traits));
  }
  if (specialization.arguments.find_first_of("\n;{}\"#\\") != std::string::npos) {
    throw Error(ErrorCode::internal, fmt::format("template arguments \"{}\"", specialization.arguments));
  }
  const json spec = json::parse(specialization.spec_json, nullptr, false);
  if (spec.is_discarded()) {
    throw Error(ErrorCode::internal, fmt::format("spec \"{}\" is not JSON", specialization.spec_json));
  }
  Program program{.arch = arch,
                  .entry = "librt_" + kernel,
                  .header = kernel + ".cuh",
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

bool is_allowed_option(const std::string& option) {
  return option.starts_with(kArchOption) || option == kReport || option == "-lineinfo" ||
         std::find(kFixedOptions.begin(), kFixedOptions.end(), option) != kFixedOptions.end();
}

std::vector<util::KeyField> key_fields(const Program& program, const KernelSources& sources,
                                       const NvrtcIdentity& compiler) {
  json options = json::array();
  for (const std::string& option : program.options) {
    if (option != kNoCache) options.push_back(option);
  }
  const json identity = {{"name", "nvrtc"},
                         {"version", compiler.version},
                         {"build_id", compiler.build_id},
                         {"builtins_build_id", compiler.builtins_build_id}};
  return {{"schema", json(kSchema).dump()},
          {"target", json(to_string(program.arch)).dump()},
          {"source", json(util::to_hex(util::hash(program.source))).dump()},
          {"headers", sources.digests_json(program.header)},
          {"options", options.dump()},
          {"names", json::array({program.entry}).dump()},
          {"compiler", identity.dump()},
          {"spec", program.spec_json}};
}

}  // namespace librt::jit
