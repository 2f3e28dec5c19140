#include "src/api/specialize.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <utility>

#include "src/kernel/registry.hpp"

namespace librt::api {
namespace {

using nlohmann::json;

/// Member by member, here and where else a first request comes by: json's initializer lists end the process where
/// memory runs out in the middle of one.
std::string facts(const Spec& spec, const KernelVariant& variant) {
  json facts = json::object();
  facts["kernel"] = spec.kernel();
  const auto fields = description(*spec.kind()).fields;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!fields[i].in_key) continue;
    json& value = facts[std::string(fields[i].name)];
    if (fields[i].dtypes.empty()) {
      value = spec.at(i);
    } else {
      value = to_string(static_cast<DType>(spec.at(i)));
    }
  }
  for (const auto& [name, value] :
       {std::pair("tile_tokens", variant.tile_tokens), {"stages", variant.stages}, {"rows", variant.rows}}) {
    if (value != 0) facts[name] = value;
  }
  return facts.dump();
}

}  // namespace

void require_arch(const Arch& arch, int oldest_sm) {
  // What parse_arch() would not have made.
  if (arch.suffix != 0 && arch.suffix != 'a' && arch.suffix != 'f') {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("arch.suffix is the character {}; allowed: 0, 'a', 'f'", static_cast<int>(arch.suffix)));
  }
  if (arch.sm < 10 || arch.sm > 999) {
    throw Error(ErrorCode::invalid_argument, fmt::format("arch.sm is {}; allowed: 10..999", arch.sm));
  }
  if (arch.sm < oldest_sm) {
    throw Error(ErrorCode::unsupported,
                fmt::format("arch {} is not supported: the kernels need cp.async and mma.sync; allowed: sm_{} and up",
                            to_string(arch), oldest_sm));
  }
}

KernelVariant variant_of(const Spec& spec, const Arch& arch) {
  validate(spec);
  const KernelDescription& kernel = description(*spec.kind());
  require_arch(arch, kernel.oldest_sm);
  return kernel.specialize(spec, arch);
}

Specialized specialize(const Spec& spec, const Arch& arch) {
  KernelVariant variant = variant_of(spec, arch);
  std::string json = facts(spec, variant);
  return {.program = {.kernel = std::string(spec.kernel()),
                      .traits = std::move(variant.traits),
                      .arguments = std::move(variant.arguments),
                      .spec_json = std::move(json)},
          .block_threads = variant.block_threads,
          .shared_bytes = variant.shared_bytes};
}

jit::KernelSources load_sources(const std::string& kernels_dir, const std::vector<SourceEdit>& edits,
                                util::Trust trust) {
  std::vector<jit::SourceFile> added;
  for (const KernelSource& each : kernel::added_sources()) {
    added.push_back({.name = std::string(each.name), .text = std::string(each.text)});
  }
  return jit::KernelSources::load(kernels_dir, edits, trust, jit::host_headers(), added);
}

std::optional<Spec> merge_of(const Spec& spec) {
  validate(spec);
  const auto merge = description(*spec.kind()).merge;
  if (merge == nullptr) return std::nullopt;
  return merge(spec);
}

}  // namespace librt::api
