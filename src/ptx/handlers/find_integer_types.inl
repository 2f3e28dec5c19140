// Choosing a C++ type for a PTX type.
#pragma once

/// Calls pick with a value of the C++ type that `type` is executed in.
template <class Pick>
inline Handler for_integer(Type type, Pick pick) {
  switch (type) {
    case Type::u16:
    case Type::b16:
      return pick(std::uint16_t{});
    case Type::s16:
      return pick(std::int16_t{});
    case Type::u32:
    case Type::b32:
      return pick(std::uint32_t{});
    case Type::s32:
      return pick(std::int32_t{});
    case Type::u64:
    case Type::b64:
      return pick(std::uint64_t{});
    case Type::s64:
      return pick(std::int64_t{});
    default:
      return nullptr;
  }
}

template <class Pick>
inline Handler for_bits(Type type, Pick pick) {
  switch (bytes_of(type)) {
    case 2:
      return pick(std::uint16_t{});
    case 4:
      return pick(std::uint32_t{});
    case 8:
      return pick(std::uint64_t{});
    default:
      return nullptr;
  }
}
