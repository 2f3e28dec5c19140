// The handlers, compiled for two instruction sets. Each function returns null for a form that has none.
#pragma once

#include "src/ptx/form.hpp"

namespace librt::ptx {

Handler find_baseline(const Form& form);
Handler find_wide(const Form& form);

}  // namespace librt::ptx
