// The handlers of memory, exchange and matrix forms.
#pragma once

#include "src/ptx/handlers/exchange.inl"
#include "src/ptx/handlers/find_integer_types.inl"
#include "src/ptx/handlers/memory.inl"
#include "src/ptx/handlers/tensor.inl"

template <class Pick>
inline Handler for_element(Type type, Pick pick) {
  if (bytes_of(type) == 1) return pick(std::uint8_t{});
  return for_bits(type, pick);
}

template <class Pick>
inline Handler for_register(unsigned bytes, Pick pick) {
  return bytes == 2   ? pick(std::uint16_t{})
         : bytes == 4 ? pick(std::uint32_t{})
         : bytes == 8 ? pick(std::uint64_t{})
                      : nullptr;
}

/// Calls pick for elements that fit the register.
template <class Pick>
inline Handler for_transfer(const Form& form, Pick pick) {
  return for_element(form.type, [&](auto element) {
    return for_register(form.register_bytes, [&](auto word) -> Handler {
      if constexpr (sizeof(word) < sizeof(element))
        return nullptr;
      else
        return pick(element, word);
    });
  });
}

inline Handler find_load(const Form& form) {
  return for_transfer(form, [&](auto element, auto word) -> Handler {
    using E = decltype(element);
    using R = decltype(word);
    if (sizeof(R) > sizeof(E) && is_signed(form.type)) {
      if (form.count == 1) return load<E, R, true, 1>;
      if (form.count == 2) return load<E, R, true, 2>;
      return form.count == 4 ? Handler{load<E, R, true, 4>} : nullptr;
    }
    if (form.count == 1) return load<E, R, false, 1>;
    if (form.count == 2) return load<E, R, false, 2>;
    return form.count == 4 && sizeof(E) < 8 ? Handler{load<E, R, false, 4>} : nullptr;
  });
}

inline Handler find_store(const Form& form) {
  if (form.space == Space::constant || form.space == Space::param) return nullptr;
  return for_transfer(form, [&](auto element, auto word) -> Handler {
    using E = decltype(element);
    using R = decltype(word);
    if (form.count == 1) return store<E, R, 1>;
    if (form.count == 2) return store<E, R, 2>;
    return form.count == 4 && sizeof(E) < 8 ? Handler{store<E, R, 4>} : nullptr;
  });
}

template <Op op, class T, bool is_float>
inline Handler find_atomic_in(const Form& form) {
  const bool possible = form.space == Space::generic || form.space == Space::global || form.space == Space::shared;
  return possible ? atomic<op, T, is_float> : nullptr;
}

template <Op op>
inline Handler find_atomic_of(const Form& form) {
  constexpr bool bitwise =
      op == Op::atom_and || op == Op::atom_or || op == Op::atom_xor || op == Op::atom_exch || op == Op::atom_cas;
  constexpr bool ordered = op == Op::atom_min || op == Op::atom_max;
  switch (form.type) {
    case Type::b32:
      return bitwise ? find_atomic_in<op, std::uint32_t, false>(form) : nullptr;
    case Type::b64:
      return bitwise ? find_atomic_in<op, std::uint64_t, false>(form) : nullptr;
    case Type::u32:
      return bitwise ? nullptr : find_atomic_in<op, std::uint32_t, false>(form);
    case Type::u64:
      return ordered || op == Op::atom_add ? find_atomic_in<op, std::uint64_t, false>(form) : nullptr;
    case Type::s32:
      return ordered || op == Op::atom_add ? find_atomic_in<op, std::int32_t, false>(form) : nullptr;
    case Type::s64:
      return ordered ? find_atomic_in<op, std::int64_t, false>(form) : nullptr;
    case Type::f32:
      return op == Op::atom_add ? find_atomic_in<op, std::uint32_t, true>(form) : nullptr;
    case Type::f64:
      return op == Op::atom_add ? find_atomic_in<op, std::uint64_t, true>(form) : nullptr;
    default:
      return nullptr;
  }
}

inline Handler find_atomic(const Form& form) {
  switch (form.op) {
    case Op::atom_add:
      return find_atomic_of<Op::atom_add>(form);
    case Op::atom_min:
      return find_atomic_of<Op::atom_min>(form);
    case Op::atom_max:
      return find_atomic_of<Op::atom_max>(form);
    case Op::atom_and:
      return find_atomic_of<Op::atom_and>(form);
    case Op::atom_or:
      return find_atomic_of<Op::atom_or>(form);
    case Op::atom_xor:
      return find_atomic_of<Op::atom_xor>(form);
    case Op::atom_inc:
      return find_atomic_of<Op::atom_inc>(form);
    case Op::atom_dec:
      return find_atomic_of<Op::atom_dec>(form);
    case Op::atom_exch:
      return find_atomic_of<Op::atom_exch>(form);
    case Op::atom_cas:
      return find_atomic_of<Op::atom_cas>(form);
    default:
      return nullptr;
  }
}

template <bool transposed>
inline Handler find_matrix_load(unsigned count) {
  return count == 1   ? load_matrices<1, transposed>
         : count == 2 ? load_matrices<2, transposed>
         : count == 4 ? Handler{load_matrices<4, transposed>}
                      : nullptr;
}

template <bool transposed>
inline Handler find_matrix_store(unsigned count) {
  return count == 1   ? store_matrices<1, transposed>
         : count == 2 ? store_matrices<2, transposed>
         : count == 4 ? Handler{store_matrices<4, transposed>}
                      : nullptr;
}

template <Op op>
inline Handler find_reduction(Type type) {
  constexpr bool bitwise = op == Op::redux_and || op == Op::redux_or || op == Op::redux_xor;
  if (bitwise) return type == Type::b32 ? reduce_warp<op, std::uint32_t> : nullptr;
  return type == Type::u32   ? reduce_warp<op, std::uint32_t>
         : type == Type::s32 ? Handler{reduce_warp<op, std::int32_t>}
                             : nullptr;
}

inline Handler find_is_space(Space space) {
  switch (space) {
    case Space::global:
      return is_space<Space::global>;
    case Space::shared:
      return is_space<Space::shared>;
    case Space::local:
      return is_space<Space::local>;
    case Space::param:
      return is_space<Space::param>;
    case Space::constant:
      return is_space<Space::constant>;
    case Space::generic:
      break;
  }
  return nullptr;
}

inline Handler find_exchange(const Form& form) {
  switch (form.op) {
    case Op::shfl_up:
      return shuffle<Op::shfl_up>;
    case Op::shfl_down:
      return shuffle<Op::shfl_down>;
    case Op::shfl_bfly:
      return shuffle<Op::shfl_bfly>;
    case Op::shfl_idx:
      return shuffle<Op::shfl_idx>;
    case Op::vote_all:
      return vote<Op::vote_all>;
    case Op::vote_any:
      return vote<Op::vote_any>;
    case Op::vote_uni:
      return vote<Op::vote_uni>;
    case Op::vote_ballot:
      return vote<Op::vote_ballot>;
    case Op::match_any:
      return bytes_of(form.type) == 8 ? match<false, std::uint64_t> : match<false, std::uint32_t>;
    case Op::match_all:
      return bytes_of(form.type) == 8 ? match<true, std::uint64_t> : match<true, std::uint32_t>;
    case Op::redux_add:
      return find_reduction<Op::redux_add>(form.type);
    case Op::redux_min:
      return find_reduction<Op::redux_min>(form.type);
    case Op::redux_max:
      return find_reduction<Op::redux_max>(form.type);
    case Op::redux_and:
      return find_reduction<Op::redux_and>(form.type);
    case Op::redux_or:
      return find_reduction<Op::redux_or>(form.type);
    case Op::redux_xor:
      return find_reduction<Op::redux_xor>(form.type);
    case Op::elect:
      return elect_leader;
    case Op::activemask:
      return active_mask;
    default:
      return nullptr;
  }
}

inline Handler find_access(const Form& form) {
  switch (form.op) {
    case Op::ld:
      return find_load(form);
    case Op::st:
      return find_store(form);
    case Op::window_to_generic:
      return form.register_bytes == 4 ? convert_address<true, std::uint32_t> : convert_address<true, std::uint64_t>;
    case Op::generic_to_window:
      return convert_address<false, std::uint64_t>;
    case Op::isspacep:
      return find_is_space(form.space);
    case Op::cp_async:
      return copy_async;
    case Op::cp_async_commit:
      return commit_copies;
    case Op::cp_async_wait:
      return wait_copies;
    case Op::ldmatrix:
      return find_matrix_load<false>(form.count);
    case Op::ldmatrix_trans:
      return find_matrix_load<true>(form.count);
    case Op::stmatrix:
      return find_matrix_store<false>(form.count);
    case Op::stmatrix_trans:
      return find_matrix_store<true>(form.count);
    case Op::mma_m16n8k16:
      return form.source == Type::bf16  ? multiply_matrices<Bfloat, 2>
             : form.source == Type::f16 ? Handler{multiply_matrices<Half, 2>}
                                        : nullptr;
    case Op::mma_m16n8k8:
      return form.source == Type::bf16  ? multiply_matrices<Bfloat, 1>
             : form.source == Type::f16 ? Handler{multiply_matrices<Half, 1>}
                                        : nullptr;
    case Op::nothing:
      return nothing;
    case Op::trap:
      return trap;
    case Op::clock:
      return form.type == Type::u64 ? read_clock<std::uint64_t> : read_clock<std::uint32_t>;
    default:
      return nullptr;
  }
}

inline Handler find_memory(const Form& form) {
  Handler handler = find_access(form);
  if (handler == nullptr) handler = find_exchange(form);
  return handler != nullptr ? handler : find_atomic(form);
}
