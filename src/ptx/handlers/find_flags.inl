// Choosing an instantiation by flags.
#pragma once

/// Calls pick with a true_type or false_type for each of the flags.
template <class Pick>
inline Handler for_flag(bool flag, Pick pick) {
  return flag ? pick(std::true_type{}) : pick(std::false_type{});
}

template <class Pick>
inline Handler for_flags(bool first, bool second, Pick pick) {
  return for_flag(first, [=](auto f) { return for_flag(second, [=](auto s) { return pick(f, s); }); });
}
