// Any bytes are a spec or refused by Error(invalid_argument); a spec is valid, and the same again after it was written.
// So are architectures.
#include <librt/error.hpp>
#include <librt/spec.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace {

template <class Parse>
auto read_or_refuse(const Parse& parse) -> std::optional<decltype(parse())> {
  try {
    return parse();
  } catch (const librt::Error& error) {
    if (error.code() != librt::ErrorCode::invalid_argument) std::abort();
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto spec = read_or_refuse([&] { return librt::parse_spec(text); })) {
    librt::validate(*spec);
    const std::string line = to_string(*spec);
    if (to_string(librt::parse_spec(line)) != line) std::abort();
  }
  if (const auto arch = read_or_refuse([&] { return librt::parse_arch(text); })) {
    if (librt::parse_arch(to_string(*arch)) != *arch) std::abort();
  }
  return 0;
}
