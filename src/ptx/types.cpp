#include "src/ptx/types.hpp"

#include <array>
#include <utility>

namespace librt::ptx {
namespace {

enum class Class : std::uint8_t { other, untyped, unsigned_integer, signed_integer, floating };

struct TypeInfo {
  Type type;
  std::string_view name;
  unsigned bytes;
  Class kind;
};

constexpr std::array kTypes = {
    TypeInfo{Type::none, "none", 0, Class::other},
    TypeInfo{Type::pred, "pred", 0, Class::other},
    TypeInfo{Type::b8, "b8", 1, Class::untyped},
    TypeInfo{Type::b16, "b16", 2, Class::untyped},
    TypeInfo{Type::b32, "b32", 4, Class::untyped},
    TypeInfo{Type::b64, "b64", 8, Class::untyped},
    TypeInfo{Type::b128, "b128", 16, Class::untyped},
    TypeInfo{Type::u8, "u8", 1, Class::unsigned_integer},
    TypeInfo{Type::u16, "u16", 2, Class::unsigned_integer},
    TypeInfo{Type::u32, "u32", 4, Class::unsigned_integer},
    TypeInfo{Type::u64, "u64", 8, Class::unsigned_integer},
    TypeInfo{Type::s8, "s8", 1, Class::signed_integer},
    TypeInfo{Type::s16, "s16", 2, Class::signed_integer},
    TypeInfo{Type::s32, "s32", 4, Class::signed_integer},
    TypeInfo{Type::s64, "s64", 8, Class::signed_integer},
    TypeInfo{Type::f16, "f16", 2, Class::floating},
    TypeInfo{Type::f16x2, "f16x2", 4, Class::floating},
    TypeInfo{Type::bf16, "bf16", 2, Class::floating},
    TypeInfo{Type::bf16x2, "bf16x2", 4, Class::floating},
    TypeInfo{Type::f32, "f32", 4, Class::floating},
    TypeInfo{Type::tf32, "tf32", 4, Class::floating},
    TypeInfo{Type::f64, "f64", 8, Class::floating},
    TypeInfo{Type::e4m3x2, "e4m3x2", 2, Class::floating},
    TypeInfo{Type::e5m2x2, "e5m2x2", 2, Class::floating},
};

const TypeInfo& info(Type type) noexcept {
  return kTypes[static_cast<std::size_t>(type)];
}

}  // namespace

std::optional<Type> type_from_name(std::string_view name) noexcept {
  for (const TypeInfo& entry : kTypes)
    if (entry.type != Type::none && entry.name == name) return entry.type;
  return std::nullopt;
}

std::string_view to_string(Type type) noexcept {
  return info(type).name;
}
unsigned bytes_of(Type type) noexcept {
  return info(type).bytes;
}
bool is_signed(Type type) noexcept {
  return info(type).kind == Class::signed_integer;
}
bool is_unsigned(Type type) noexcept {
  return info(type).kind == Class::unsigned_integer;
}
bool is_untyped(Type type) noexcept {
  return info(type).kind == Class::untyped;
}
bool is_float(Type type) noexcept {
  return info(type).kind == Class::floating;
}

std::string_view to_string(Space space) noexcept {
  switch (space) {
    case Space::generic:
      return "generic";
    case Space::global:
      return "global";
    case Space::shared:
      return "shared";
    case Space::local:
      return "local";
    case Space::param:
      return "param";
    case Space::constant:
      return "const";
  }
  return "unknown";
}

}  // namespace librt::ptx
