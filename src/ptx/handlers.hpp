// The families of handlers, each compiled for two instruction sets. Each function returns null for forms that are not
// of its family.
#pragma once

#include "src/ptx/form.hpp"

namespace librt::ptx {

Handler find_integer_baseline(const Form& form);
Handler find_integer_wide(const Form& form);
Handler find_float_baseline(const Form& form);
Handler find_float_wide(const Form& form);
Handler find_convert_baseline(const Form& form);
Handler find_convert_wide(const Form& form);
Handler find_memory_baseline(const Form& form);
Handler find_memory_wide(const Form& form);

}  // namespace librt::ptx
