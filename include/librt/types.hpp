// Element types and GPU architectures.
#pragma once

#include <librt/export.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace librt {

/// Element type of q, the KV cache and the output.
enum class DType { bf16, f16 };

/// "unknown" for a value that is none of the enum's.
LIBRT_API std::string_view to_string(DType dtype) noexcept;
/// Accepts "bf16" and "f16". Throws Error(invalid_argument).
LIBRT_API DType parse_dtype(std::string_view text);
LIBRT_API std::size_t size_in_bytes(DType dtype) noexcept;

/// What a kernel is compiled for: a real architecture (`sm_90a`: cubin and PTX) or a virtual one (`compute_80`: PTX
/// only).
struct Arch {
  int sm = 80;            ///< 80 for sm_80, 103 for sm_103a
  char suffix = 0;        ///< 0, 'a' (architecture specific) or 'f' (family specific); all others are refused
  bool ptx_only = false;  ///< compute_XX

  friend bool operator==(const Arch&, const Arch&) = default;
};

/// "sm_90a", "compute_80".
LIBRT_API std::string to_string(const Arch& arch);
/// Accepts sm_XX[a|f] and compute_XX[a|f]. Throws Error(invalid_argument). Whether the NVRTC at hand knows the
/// architecture is checked when something is compiled, against NVRTC's own list.
LIBRT_API Arch parse_arch(std::string_view text);

}  // namespace librt
