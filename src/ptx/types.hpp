// The scalar types and state spaces of PTX.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace librt::ptx {

enum class Type : std::uint8_t {
  none,
  pred,
  b8,
  b16,
  b32,
  b64,
  b128,
  u8,
  u16,
  u32,
  u64,
  s8,
  s16,
  s32,
  s64,
  f16,
  f16x2,
  bf16,
  bf16x2,
  f32,
  tf32,
  f64,
  e4m3x2,
  e5m2x2,
};

enum class Space : std::uint8_t { generic, global, shared, local, param, constant };

/// @param name without the leading dot, e.g. "f32".
std::optional<Type> type_from_name(std::string_view name) noexcept;
std::string_view to_string(Type type) noexcept;
std::string_view to_string(Space space) noexcept;
unsigned bytes_of(Type type) noexcept;
bool is_signed(Type type) noexcept;
bool is_unsigned(Type type) noexcept;
bool is_untyped(Type type) noexcept;
bool is_float(Type type) noexcept;
/// Pairs of 8-bit numbers.
constexpr bool is_float8(Type type) noexcept {
  return type == Type::e4m3x2 || type == Type::e5m2x2;
}
inline bool is_integer(Type type) noexcept {
  return is_signed(type) || is_unsigned(type);
}

}  // namespace librt::ptx
