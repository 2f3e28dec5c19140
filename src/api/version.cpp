#include <librt/artifact.hpp>
#include <librt/version.hpp>

namespace librt {

std::string_view version() noexcept {
  return kVersionText;
}

std::string_view to_string(Origin origin) noexcept {
  switch (origin) {
    case Origin::memory:
      return "memory";
    case Origin::disk:
      return "disk";
    case Origin::compiled:
      return "compiled";
  }
  return "unknown";
}

}  // namespace librt
