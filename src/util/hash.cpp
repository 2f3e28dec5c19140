#include "src/util/hash.hpp"

#include <sodium.h>

#include <algorithm>

namespace librt::util {
namespace {

// libsodium hashes without this too, but with its portable code, at a third of the speed.
void choose_fastest_implementation() noexcept {
  static const int done = ::sodium_init();
  static_cast<void>(done);
}

const unsigned char* data_of(std::span<const std::byte> bytes) noexcept {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

std::span<const std::byte> bytes_of(std::string_view text) noexcept {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

int hex_value(char digit) noexcept {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

}  // namespace

struct Hasher::State {
  ::crypto_generichash_state value;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  choose_fastest_implementation();
  ::crypto_generichash_init(&state_->value, nullptr, 0, std::tuple_size_v<Digest>);
}

Hasher::~Hasher() = default;

void Hasher::update(std::span<const std::byte> bytes) noexcept {
  ::crypto_generichash_update(&state_->value, data_of(bytes), bytes.size());
}

void Hasher::update(std::string_view text) noexcept {
  update(bytes_of(text));
}

Digest Hasher::finish() noexcept {
  Digest digest;
  ::crypto_generichash_final(&state_->value, reinterpret_cast<unsigned char*>(digest.data()), digest.size());
  return digest;
}

Digest hash(std::span<const std::byte> bytes) noexcept {
  choose_fastest_implementation();
  Digest digest;
  ::crypto_generichash(reinterpret_cast<unsigned char*>(digest.data()), digest.size(), data_of(bytes), bytes.size(),
                       nullptr, 0);
  return digest;
}

Digest hash(std::string_view text) noexcept {
  return hash(bytes_of(text));
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text(bytes.size() * 2 + 1, '\0');  // libsodium ends it with a NUL
  ::sodium_bin2hex(text.data(), text.size(), data_of(bytes), bytes.size());
  text.pop_back();
  return text;
}

bool from_hex(std::string_view text, std::span<std::byte> out) noexcept {
  // sodium_hex2bin takes upper case too, which would give one entry two names.
  if (text.size() % 2 != 0 || text.size() / 2 != out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<std::byte>(high * 16 + low);
  }
  return true;
}

}  // namespace librt::util
