// Manifests with any bytes in them are refused by Error(invalid_argument), in one line that can be shown, or read; what
// was read is within its bounds, valid, and the same again after it was written.
#include <librt/error.hpp>
#include <librt/manifest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

void check(const librt::Manifest& manifest) {
  if (manifest.specs.size() > librt::kMaxManifestSpecs || manifest.archs.size() > librt::kMaxManifestArchs)
    std::abort();
  for (const librt::Spec& spec : manifest.specs) librt::validate(spec);
  if (librt::parse_manifest(librt::to_json(manifest), "again") != manifest) std::abort();
}

void check(const librt::Error& error) {
  const std::string_view what = error.what();
  if (error.code() != librt::ErrorCode::invalid_argument || !what.starts_with("fuzz: ")) std::abort();
  if (what.size() > 2000 || what.find('\n') != std::string_view::npos) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  librt::Manifest manifest;
  try {
    manifest = librt::parse_manifest({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const librt::Error& error) {
    check(error);
    return 0;
  }
  check(manifest);
  return 0;
}
