#include "src/ptx/handlers.hpp"

namespace librt::ptx {
namespace {

enum class Family : std::uint8_t { integer, floating, conversion, memory };

Family family_of(const Form& form) {
  switch (form.op) {
    case Op::cvt:
    case Op::cvt_pack:
      return Family::conversion;
    case Op::setp:
    case Op::testp:
      return Family::floating;
    default:
      break;
  }
  // Data movement and bit operations do not care what the bits mean; they come before the arithmetic on floats.
  if (form.op >= Op::shfl_up || form.op == Op::window_to_generic || form.op == Op::generic_to_window ||
      form.op == Op::isspacep)
    return Family::memory;
  const bool moves = form.op == Op::move || form.op == Op::selp || form.op == Op::slct;
  return is_float(form.type) && !moves ? Family::floating : Family::integer;
}

}  // namespace

Handler find_handler(const Form& form, InstructionSet set) {
  const bool wide = set == InstructionSet::wide;
  switch (family_of(form)) {
    case Family::integer:
      return wide ? find_integer_wide(form) : find_integer_baseline(form);
    case Family::floating:
      return wide ? find_float_wide(form) : find_float_baseline(form);
    case Family::conversion:
      return wide ? find_convert_wide(form) : find_convert_baseline(form);
    case Family::memory:
      return wide ? find_memory_wide(form) : find_memory_baseline(form);
  }
  return nullptr;
}

InstructionSet native_instruction_set() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::wide;
#endif
  return InstructionSet::baseline;
}

}  // namespace librt::ptx
