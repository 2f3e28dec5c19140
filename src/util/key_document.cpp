#include "src/util/key_document.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <concepts>
#include <cstdint>

namespace librt::util {
namespace {

template <std::unsigned_integral T>
void hash_length(Hasher& hasher, T length) {
  std::array<std::byte, sizeof(T)> little_endian;
  for (std::size_t i = 0; i < sizeof(T); ++i) little_endian[i] = static_cast<std::byte>((length >> (8 * i)) & 0xff);
  hasher.update(little_endian);
}

}  // namespace

Digest key_digest(const std::vector<KeyField>& fields) {
  using namespace std::string_view_literals;
  Hasher hasher;
  hasher.update("librt-key\0"sv);
  for (const KeyField& field : fields) {
    hash_length(hasher, static_cast<std::uint32_t>(field.name.size()));
    hasher.update(std::string_view(field.name));
    hash_length(hasher, static_cast<std::uint64_t>(field.value.size()));
    hasher.update(std::string_view(field.value));
  }
  return hasher.finish();
}

std::string key_document(const std::vector<KeyField>& fields) {
  std::string document = "{";
  for (const KeyField& field : fields) {
    if (document.size() > 1) document += ',';
    document += nlohmann::json(field.name).dump();
    document += ':';
    document += field.value;
  }
  document += '}';
  return document;
}

}  // namespace librt::util
