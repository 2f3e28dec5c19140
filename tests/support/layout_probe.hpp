// Kernels that show where the elements of a warp's matrices live, compiled by NVRTC and run on any device: a GPU, or
// the virtual one, where the same code is known to work before a GPU is at hand.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <string>

#include "src/device/device.hpp"
#include "tests/support/layouts.hpp"

namespace librt::test {

struct MeasuredLayouts {
  std::map<std::string, Products> products;  ///< by MmaForm::name()
  std::map<std::string, Layout> moves;       ///< by MatrixForm::name(); stmatrix from sm_90 on

  /// The layouts, in the form of figures_json().
  nlohmann::json json() const;
};

/// Throws librt::Error (no_nvrtc, compile_failed, or what the device says).
/// @param nvrtc path of libnvrtc.so; empty = searched for
MeasuredLayouts probe_layouts(device::Device& device, const std::string& nvrtc);

}  // namespace librt::test
