// The one exception type of librt.
#pragma once

#include <librt/export.hpp>

#include <stdexcept>
#include <string>
#include <string_view>

namespace librt {

enum class ErrorCode {
  invalid_argument,  ///< a spec, plan, tensor or option is wrong; the message names the field, its value and what is
                     ///< allowed
  unsupported,       ///< well formed, but this NVRTC, device or build cannot do it
  no_nvrtc,          ///< a compile was needed and no usable libnvrtc was found
  compile_failed,    ///< NVRTC refused the program; detail() holds its log, the stub and the options
  /// CacheMode::only, and no entry; the message names the nearest (of some hundred) and what differs.
  not_cached,
  no_device,     ///< no usable device; the message says why and what would help
  driver,        ///< the CUDA driver returned an error; the message names the call and the error
  device_fault,  ///< the virtual device stopped the kernel; the message says where
  io,            ///< a file that the caller named cannot be read or written
  corrupt,       ///< bytes that the caller handed over are damaged
  internal,      ///< a broken invariant of librt itself: please report it
};

/// The identifier of a code as it is written in the enum, e.g. "no_device".
LIBRT_API std::string_view to_string(ErrorCode code) noexcept;

/// Everything that librt throws by itself. what() is one line that is enough to act on; detail() is the evidence
/// behind it (a compiler log, a list of places searched), possibly empty, possibly long.
///
/// Two more exceptions may leave the library: std::bad_alloc where the host has no memory left (nothing is lost by it,
/// and the same call may succeed later), and what a progress callback of the caller's threw. What else the standard
/// library or another one throws inside arrives as Error(internal) with its text.
class LIBRT_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what, std::string detail = {});
  ~Error() override;
  Error(const Error&) = default;
  Error& operator=(const Error&) = default;

  ErrorCode code() const noexcept { return code_; }
  const std::string& detail() const noexcept { return detail_; }

 private:
  ErrorCode code_;
  std::string detail_;
};

}  // namespace librt
