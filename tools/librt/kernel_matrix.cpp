#include "tools/librt/kernel_matrix.hpp"

#include <fmt/format.h>

namespace librt::tool {

KernelMatrix parse_kernel_matrix(std::string_view text, const std::string& origin) {
  KernelMatrix matrix;
  try {
    const auto json = nlohmann::json::parse(text);
    for (const auto& arch : json.at("archs")) matrix.archs.push_back(parse_arch(arch.get<std::string>()));
    for (const auto& spec : json.at("specs")) matrix.specs.push_back(parse_spec(spec.get<std::string>()));
  } catch (const nlohmann::json::exception& error) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("{}: {}; it must be {{\"archs\": [\"sm_90a\", ...], \"specs\": [\"KERNEL key=value ...\"]}}",
                    origin, error.what()));
  } catch (const Error& error) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{}: {}", origin, error.what()));
  }
  return matrix;
}

}  // namespace librt::tool
