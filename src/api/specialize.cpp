#include "src/api/specialize.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string_view>

#include "kernels/gqa_decode/gqa_decode.h"
#include "kernels/merge_states/merge_states.h"
#include "kernels/mla_decode/mla_decode.h"

namespace librt::api {
namespace {

using nlohmann::json;

std::string_view element_type(DType dtype) {
  return dtype == DType::bf16 ? "librt::device::Bf16" : "librt::device::F16";
}

/// What parse_arch() would not have made.
void require_arch(const Arch& arch) {
  if (arch.suffix != 0 && arch.suffix != 'a' && arch.suffix != 'f') {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("arch.suffix is the character {}; allowed: 0, 'a', 'f'", static_cast<int>(arch.suffix)));
  }
  if (arch.sm < 10 || arch.sm > 999) {
    throw Error(ErrorCode::invalid_argument, fmt::format("arch.sm is {}; allowed: 10..999", arch.sm));
  }
}

/// Member by member, here and where else a first request comes by: json's initializer lists end the process where
/// memory runs out in the middle of one.
json described(const char* kernel, DType dtype) {
  json traits = json::object();
  traits["kernel"] = kernel;
  traits["dtype"] = to_string(dtype);
  return traits;
}

Specialized specialize_gqa(const GqaDecodeSpec& spec, const Arch& arch) {
  const tiles::Tile tile = tiles::gqa_tile(arch.sm, spec.head_dim);
  json traits = described("gqa_decode", spec.dtype);
  traits["kv_dtype"] = to_string(spec.dtype);
  traits["head_dim"] = spec.head_dim;
  traits["page_size"] = spec.page_size;
  traits["tile_tokens"] = tile.tile_tokens;
  traits["stages"] = tile.stages;
  return {.program = {.kernel = "gqa_decode",
                      .traits = "GqaDecodeTraits",
                      .arguments = fmt::format("{}, {}, {}, {}, {}", element_type(spec.dtype), spec.head_dim,
                                               spec.page_size, tile.tile_tokens, tile.stages),
                      .spec_json = traits.dump()},
          .block_threads = tiles::gqa_threads(),
          .shared_bytes = tiles::gqa_shared_bytes(spec.head_dim, tile)};
}

Specialized specialize_mla(const MlaDecodeSpec& spec, const Arch& arch) {
  const int rows = tiles::mla_rows(spec.num_heads);
  const tiles::Tile tile = tiles::mla_tile(arch.sm, rows);
  json traits = described("mla_decode", spec.dtype);
  traits["kv_dtype"] = to_string(spec.dtype);
  traits["head_dim_ckv"] = spec.head_dim_ckv;
  traits["head_dim_kpe"] = spec.head_dim_kpe;
  traits["page_size"] = spec.page_size;
  traits["rows"] = rows;
  traits["tile_tokens"] = tile.tile_tokens;
  traits["stages"] = tile.stages;
  return {
      .program = {.kernel = "mla_decode",
                  .traits = "MlaDecodeTraits",
                  .arguments = fmt::format("{}, {}, {}, {}, {}, {}, {}", element_type(spec.dtype), spec.head_dim_ckv,
                                           spec.head_dim_kpe, spec.page_size, rows, tile.tile_tokens, tile.stages),
                  .spec_json = traits.dump()},
      .block_threads = tiles::mla_threads(),
      .shared_bytes = tiles::mla_shared_bytes(spec.head_dim_ckv, spec.head_dim_kpe, rows, tile)};
}

int output_head_dim(const Spec& spec) {
  if (const auto* gqa = std::get_if<GqaDecodeSpec>(&spec)) return gqa->head_dim;
  return std::get<MlaDecodeSpec>(spec).head_dim_ckv;
}

DType output_dtype(const Spec& spec) {
  return std::visit([](const auto& one) { return one.dtype; }, spec);
}

}  // namespace

void require_tensor_cores(const Arch& arch) {
  require_arch(arch);
  if (arch.sm < 80) {
    throw Error(ErrorCode::unsupported,
                fmt::format("arch {} is not supported: the kernels need cp.async and mma.sync; allowed: sm_80 and up",
                            to_string(arch)));
  }
}

Specialized specialize(const Spec& spec, const Arch& arch) {
  validate(spec);
  require_tensor_cores(arch);
  if (const auto* gqa = std::get_if<GqaDecodeSpec>(&spec)) return specialize_gqa(*gqa, arch);
  return specialize_mla(std::get<MlaDecodeSpec>(spec), arch);
}

Specialized specialize_merge(const Spec& spec, const Arch& arch) {
  validate(spec);
  require_tensor_cores(arch);
  const int head_dim = output_head_dim(spec);
  const DType dtype = output_dtype(spec);
  json traits = described("merge_states", dtype);
  traits["head_dim"] = head_dim;
  return {.program = {.kernel = "merge_states",
                      .traits = "MergeStatesTraits",
                      .arguments = fmt::format("{}, {}", element_type(dtype), head_dim),
                      .spec_json = traits.dump()},
          .block_threads = tiles::merge_threads(),
          .shared_bytes = 0};
}

}  // namespace librt::api
