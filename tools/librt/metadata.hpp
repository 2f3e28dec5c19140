// The metadata of tensor files: texts by name. One that is empty or "None", which Python writes for what is not set, is
// as absent.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "src/util/safetensors.hpp"

namespace librt::tool {

std::optional<std::string> metadata(const util::Safetensors& file, const std::string& name);
/// "true", "False", "1" ...
std::optional<bool> flag_in(std::string_view text);

/// Each throws Error: invalid_argument naming the metadata, its value and what is allowed; unsupported for what is well
/// formed but not built.
std::string read_kernel(const util::Safetensors& file);
float read_sm_scale(const util::Safetensors& file);
bool read_hnd(const util::Safetensors& file);
void check_mask(const util::Safetensors& file);
void check_window_left(const util::Safetensors& file);
void check_soft_cap(const util::Safetensors& file);
inline constexpr std::array kMetadataChecks = {check_mask, check_window_left, check_soft_cap};

}  // namespace librt::tool
