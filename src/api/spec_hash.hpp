// Hash of a spec, for in-memory maps.
#pragma once

#include <librt/spec.hpp>

#include <cstddef>
#include <cstdint>
#include <variant>

namespace librt::api {

struct SpecHash {
  std::size_t operator()(const Spec& spec) const noexcept {
    std::uint64_t state = spec.index();
    const auto mix = [&state](std::uint64_t value) { state = (state ^ value) * 0x9e3779b97f4a7c15u + (state >> 29); };
    const auto mix_common = [&](const auto& one) {
      mix(static_cast<std::uint64_t>(one.dtype));
      mix(one.kv_dtype ? 1 + static_cast<std::uint64_t>(*one.kv_dtype) : 0);
      mix(static_cast<std::uint64_t>(one.page_size));
    };
    if (const auto* gqa = std::get_if<GqaDecodeSpec>(&spec)) {
      mix_common(*gqa);
      mix(static_cast<std::uint64_t>(gqa->num_qo_heads));
      mix(static_cast<std::uint64_t>(gqa->num_kv_heads));
      mix(static_cast<std::uint64_t>(gqa->head_dim));
    } else {
      const auto& mla = std::get<MlaDecodeSpec>(spec);
      mix_common(mla);
      mix(static_cast<std::uint64_t>(mla.num_heads));
    }
    return static_cast<std::size_t>(state);
  }
};

}  // namespace librt::api
