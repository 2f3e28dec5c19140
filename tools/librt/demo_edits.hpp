// The edits that take the zeroing of V out of the kernels' text, so that `librt demo` can show what it is there for.
#pragma once

#include <librt/options.hpp>
#include <librt/spec.hpp>

namespace librt::tool {

/// The copy of a padding row of V brings 16 bytes of whatever stands there instead of none (and zeros).
inline SourceEdit without_v_zeroing(const Spec& spec) {
  if (spec.as<GqaDecodeSpec>()) {
    return {
        .file = "gqa_decode/gqa_decode.cuh", .find = "v_from, extent.copy_bytes(position))", .replace = "v_from, 16)"};
  }
  return {.file = "mla_decode/mla_decode.cuh", .find = "from, extent.copy_bytes(position))", .replace = "from, 16)"};
}

}  // namespace librt::tool
