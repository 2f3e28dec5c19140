#include "tools/librt/metadata.hpp"

#include <librt/error.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "src/util/text.hpp"

namespace librt::tool {
namespace {

using util::in_quotes;
using util::Safetensors;

[[noreturn]] void refuse(std::string_view name, std::string_view value, std::string_view allowed) {
  throw Error(ErrorCode::invalid_argument,
              fmt::format("metadata {} is {}; allowed: {}", name, in_quotes(value), allowed));
}

[[noreturn]] void unsupported(std::string_view name, std::string_view value, std::string_view supported) {
  throw Error(ErrorCode::unsupported, fmt::format("metadata {} is {}; {}", name, in_quotes(value), supported));
}

double number(const std::string& name, const std::string& text, std::string_view allowed) {
  const std::optional<double> value = util::number_in<double>(text);
  if (!value || std::isnan(*value)) refuse(name, text, allowed);
  return *value;
}

std::optional<bool> read_flag(const Safetensors& file, const std::string& name) {
  const auto text = metadata(file, name);
  if (!text) return {};
  const auto flag = flag_in(*text);
  if (!flag) refuse(name, *text, "true, false");
  return flag;
}

}  // namespace

std::optional<std::string> metadata(const Safetensors& file, const std::string& name) {
  const auto found = file.metadata().find(name);
  if (found == file.metadata().end() || found->second.empty() || found->second == "None") return {};
  return found->second;
}

std::optional<bool> flag_in(std::string_view text) {
  if (text == "true" || text == "True" || text == "1") return true;
  if (text == "false" || text == "False" || text == "0") return false;
  return {};
}

std::string read_kernel(const Safetensors& file) {
  const auto kernel = metadata(file, "kernel");
  std::vector<std::string_view> names;
  for (const KernelKind* kind : kernel_kinds()) names.push_back(description(*kind).name);
  const std::string allowed = fmt::format("{}", fmt::join(names, ", "));
  if (!kernel) throw Error(ErrorCode::invalid_argument, "metadata kernel is missing; allowed: " + allowed);
  if (std::ranges::find(names, *kernel) == names.end()) refuse("kernel", *kernel, allowed);
  return *kernel;
}

float read_sm_scale(const Safetensors& file) {
  const auto text = metadata(file, "sm_scale");
  if (!text) {
    throw Error(ErrorCode::invalid_argument,
                "metadata sm_scale is missing; it is the factor of q.k, usually 1/sqrt(head_dim)");
  }
  constexpr std::string_view kAllowed = "a number that is finite and not 0 in 32 bits";
  const auto scale = static_cast<float>(number("sm_scale", *text, kAllowed));
  if (!std::isfinite(scale) || scale == 0) refuse("sm_scale", *text, kAllowed);
  return scale;
}

bool read_hnd(const Safetensors& file) {
  const auto layout = metadata(file, "kv_layout");
  if (!layout || *layout == "NHD") return false;
  if (*layout == "HND") return true;
  refuse("kv_layout", *layout, "NHD, HND");
}

/// With one query token a request, a causal mask hides nothing, so that either value is the same batch.
void check_mask(const Safetensors& file) {
  const auto mask = metadata(file, "mask");
  if (mask && *mask != "causal" && *mask != "none") refuse("mask", *mask, "causal, none");
  const auto causal = read_flag(file, "causal");
  if (mask && causal && (*mask == "causal") != *causal) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("metadata mask is \"{}\", but causal is \"{}\"; give one of them", *mask, *causal));
  }
}

void check_window_left(const Safetensors& file) {
  const auto window = metadata(file, "window_left");
  if (!window) return;
  constexpr std::string_view kAllowed = "-1 (none)";
  const double value = number("window_left", *window, kAllowed);
  if (value == -1) return;
  if (value < 0 || value != std::floor(value)) refuse("window_left", *window, kAllowed);
  unsupported("window_left", *window, "windows are not supported; allowed: -1 (none)");
}

void check_soft_cap(const Safetensors& file) {
  const auto cap = metadata(file, "logits_soft_cap");
  if (!cap) return;
  if (number("logits_soft_cap", *cap, "0 (none)") > 0) {
    unsupported("logits_soft_cap", *cap, "soft caps are not supported; allowed: 0 (none)");
  }
}

}  // namespace librt::tool
