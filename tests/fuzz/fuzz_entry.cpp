// Entry files with any bytes in them, and what they hold; seeds are in tests/fuzz/corpus/entry.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <variant>
#include <vector>

#include "src/api/entry_codec.hpp"
#include "src/cache/entry.hpp"

using namespace librt;

namespace {

constexpr std::size_t kKeyAt = 24;
constexpr std::size_t kChecksumBytes = 32;

/// What is accepted has to survive being written and read again.
void check(const std::vector<std::byte>& file, const util::Digest& key) {
  const auto decoded = cache::decode_entry(file, key);
  const auto* entry = std::get_if<cache::Entry>(&decoded);
  if (entry == nullptr) return;
  const auto again = cache::decode_entry(cache::encode_entry(key, *entry), key);
  const auto* same = std::get_if<cache::Entry>(&again);
  if (same == nullptr || same->key_document != entry->key_document || same->meta != entry->meta ||
      same->cubin != entry->cubin || same->ptx != entry->ptx || same->source != entry->source) {
    std::abort();
  }
  // What an entry holds is checked by librt's own callback; only what passes becomes an artifact.
  if (!api::validate_entry(*entry)) api::to_artifact(key, *entry, Origin::disk);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  std::vector<std::byte> file(input.begin(), input.end());
  util::Digest key{};
  if (size >= kKeyAt + key.size()) std::copy_n(file.begin() + kKeyAt, key.size(), key.begin());
  check(file, key);
  // No mutation finds a checksum: make it right, to get at what stands behind it.
  if (size < kChecksumBytes) return 0;
  const util::Digest checksum = util::hash(std::span<const std::byte>(file).first(size - kChecksumBytes));
  std::copy(checksum.begin(), checksum.end(), file.end() - kChecksumBytes);
  check(file, key);
  return 0;
}
