#include <librt/error.hpp>

#include <utility>

namespace librt {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::no_nvrtc:
      return "no_nvrtc";
    case ErrorCode::compile_failed:
      return "compile_failed";
    case ErrorCode::not_cached:
      return "not_cached";
    case ErrorCode::no_device:
      return "no_device";
    case ErrorCode::driver:
      return "driver";
    case ErrorCode::device_fault:
      return "device_fault";
    case ErrorCode::io:
      return "io";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, const std::string& what, std::string detail)
    : std::runtime_error(what), code_(code), detail_(std::move(detail)) {}

Error::~Error() = default;

}  // namespace librt
