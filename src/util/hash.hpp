// BLAKE2b-256 (libsodium): the one hash of librt.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace librt::util {

using Digest = std::array<std::byte, 32>;

/// Streaming hash; finish() once.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void update(std::span<const std::byte> bytes) noexcept;
  void update(std::string_view text) noexcept;
  Digest finish() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest hash(std::span<const std::byte> bytes) noexcept;
Digest hash(std::string_view text) noexcept;

std::string to_hex(std::span<const std::byte> bytes);
/// Lower case only. Returns false, leaving `out` unspecified, unless `text` is exactly 2 * out.size() hex digits.
bool from_hex(std::string_view text, std::span<std::byte> out) noexcept;

}  // namespace librt::util
