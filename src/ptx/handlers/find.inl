// The handler of a form, of whichever family.
#pragma once

#include "src/ptx/handlers/find_convert.inl"
#include "src/ptx/handlers/find_float.inl"
#include "src/ptx/handlers/find_integer.inl"
#include "src/ptx/handlers/find_memory.inl"

inline Handler find(const Form& form) {
  switch (form.op) {
    case Op::cvt:
    case Op::cvt_pack:
      return find_convert(form);
    case Op::setp:
    case Op::testp:
      return find_float(form);
    default:
      break;
  }
  // Data movement and bit operations do not care what the bits mean; they come before the arithmetic on floats.
  if (form.op >= Op::shfl_up || form.op == Op::window_to_generic || form.op == Op::generic_to_window ||
      form.op == Op::isspacep)
    return find_memory(form);
  const bool moves = form.op == Op::move || form.op == Op::selp || form.op == Op::slct;
  return is_float(form.type) && !moves ? find_float(form) : find_integer(form);
}
