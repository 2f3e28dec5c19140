#include "src/api/device_choice.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

#include "src/util/text.hpp"

namespace librt::api {
namespace {

[[noreturn]] void refuse(std::string_view text) {
  throw Error(ErrorCode::invalid_argument,
              fmt::format("device {} is not known; allowed: cuda:N, virtual, virtual:sm_XX", util::in_quotes(text)));
}

}  // namespace

DeviceChoice parse_device(std::string_view text) {
  constexpr std::string_view kCuda = "cuda:";
  constexpr std::string_view kVirtual = "virtual:";
  DeviceChoice choice;
  if (text.starts_with(kCuda)) {
    choice.ordinal = util::number_in<int>(text.substr(kCuda.size())).value_or(-1);
    if (choice.ordinal < 0) refuse(text);
    return choice;
  }
  choice.is_virtual = true;
  if (text == "virtual") return choice;
  if (!text.starts_with(kVirtual)) refuse(text);
  choice.arch = parse_arch(text.substr(kVirtual.size()));
  if (choice.arch.ptx_only) refuse(text);
  return choice;
}

std::shared_ptr<device::Device> open_device(const DeviceChoice& choice, const Options& options) {
  if (!choice.is_virtual) return device::open_cuda_device(choice.ordinal);
  const std::uint64_t limit = options.virtual_instruction_limit;
  return device::open_virtual_device(choice.arch, options.virtual_threads,
                                     limit != 0 ? limit : std::numeric_limits<std::uint64_t>::max());
}

Arch compile_arch(const device::Properties& properties) {
  Arch arch = properties.arch;
  arch.ptx_only = properties.is_virtual;
  return arch;
}

std::vector<Arch> runnable_archs(const device::Properties& properties) {
  constexpr int kOldest = 80;
  constexpr int kFirstFamily = 100;  // the first with code for a whole family, sm_100f
  const int sm = properties.arch.sm;
  std::vector<Arch> archs;
  const auto add = [&](const Arch& arch) {
    if (std::ranges::find(archs, arch) == archs.end()) archs.push_back(arch);
  };
  add(compile_arch(properties));
  if (properties.is_virtual) add({.sm = sm, .suffix = properties.arch.suffix});  // its PTX is the same
  add({.sm = sm, .ptx_only = properties.is_virtual});
  if (!properties.is_virtual) {
    // Not sm_XXa: that runs on its own GPU alone.
    const int first = sm / 10 * 10;
    add({.sm = first});
    if (first >= kFirstFamily) add({.sm = first, .suffix = 'f'});
  }
  for (int earlier = sm; earlier >= kOldest; --earlier) add({.sm = earlier, .ptx_only = true});
  return archs;
}

}  // namespace librt::api
