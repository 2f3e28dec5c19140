#include "src/ptx/handlers.hpp"

namespace librt::ptx {

Handler find_handler(const Form& form, InstructionSet set) {
  return set == InstructionSet::wide ? find_wide(form) : find_baseline(form);
}

InstructionSet native_instruction_set() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::wide;
#endif
  return InstructionSet::baseline;
}

}  // namespace librt::ptx
