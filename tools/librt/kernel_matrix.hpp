// The list of what ships: specializations and architectures.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace librt::tool {

struct KernelMatrix {
  std::vector<Spec> specs;
  std::vector<Arch> archs;
};

/// The text of kernels/matrix.json as it was when the tool was built.
std::string_view kernel_matrix_text() noexcept;

/// {"archs": [...], "specs": [...]}. Throws Error(invalid_argument) that names `origin` and what is wrong.
KernelMatrix parse_kernel_matrix(std::string_view text, const std::string& origin);

}  // namespace librt::tool
