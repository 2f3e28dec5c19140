// What the descriptions of librt's kernels share.
#pragma once

#include <librt/kernel_kind.hpp>

#include <string>
#include <string_view>

namespace librt::kernels {

inline constexpr DType kTensorCoreTypes[] = {DType::bf16, DType::f16};
inline constexpr int kMaxPageSize = 65536;
inline constexpr std::string_view kBatch[] = {"batch"};
inline constexpr std::string_view kBatchAndOne[] = {"batch + 1"};

/// As C++ of the device code.
inline std::string_view element_type(DType dtype) {
  return dtype == DType::bf16 ? "librt::device::Bf16" : "librt::device::F16";
}

/// The matrix instructions take elements of one type.
inline void require_same_dtype(const Spec& spec) {
  if (spec.get("kv_dtype") == spec.get("dtype")) return;
  const std::string dtype(to_string(spec.dtype("dtype")));
  refuse_field(spec, "kv_dtype", dtype, "with dtype=" + dtype);
}

/// The kernel that joins the parts of split requests.
Spec merge_spec(DType dtype, int head_dim, int num_heads);

}  // namespace librt::kernels
