// One cache entry as bytes: `.rtk`, described in src/cache/README.md.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "src/util/hash.hpp"

namespace librt::cache {

/// What an entry holds. The cache gives no meaning to any of it.
struct Entry {
  std::string key_document;      // JSON; its fields hash to the key
  std::string meta;              // JSON object
  std::vector<std::byte> cubin;  // may be empty
  std::string ptx;               // may be empty
  std::string source;
};

struct Rejected {
  std::string reason;
};

inline constexpr std::size_t kMaxEntryBytes = std::size_t{64} << 20;

/// Little-endian; ends with a BLAKE2b-256 of all that precedes it. Throws Error(invalid_argument) above kMaxEntryBytes,
/// without a key document or metadata, and where one of these is too large to be read again.
std::vector<std::byte> encode_entry(const util::Digest& key, const Entry& entry);

/// Trusts nothing: every offset, length, count, the total size, the checksum and the key are verified.
std::variant<Entry, Rejected> decode_entry(std::span<const std::byte> bytes, const util::Digest& key);

}  // namespace librt::cache
