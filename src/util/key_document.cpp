#include "src/util/key_document.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>

namespace librt::util {
namespace {

template <std::unsigned_integral T>
void hash_length(Hasher& hasher, T length) {
  std::array<std::byte, sizeof(T)> little_endian;
  for (std::size_t i = 0; i < sizeof(T); ++i) little_endian[i] = static_cast<std::byte>((length >> (8 * i)) & 0xff);
  hasher.update(little_endian);
}

struct Range {
  std::size_t begin;
  std::size_t end;
};

/// Where the member "compiler" stands. It is found by its text, since nothing may depend on how a stranger's document
/// nests: within a string of JSON its quotes would be escaped, and its value is a flat object of plain words.
std::optional<Range> find_compiler(std::string_view document) {
  constexpr std::string_view kMember = "\"compiler\":{";
  const std::size_t begin = document.find(kMember);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::size_t end = document.find('}', begin);
  if (end == std::string_view::npos) return std::nullopt;
  return Range{begin, end + 1};
}

}  // namespace

std::string program_document(std::string_view key_document) {
  const auto found = find_compiler(key_document);
  if (!found) return std::string(key_document);
  auto [begin, end] = *found;
  if (begin > 0 && key_document[begin - 1] == ',') {
    --begin;
  } else if (end < key_document.size() && key_document[end] == ',') {
    ++end;
  }
  return std::string(key_document.substr(0, begin)).append(key_document.substr(end));
}

std::string_view compiler_in(std::string_view key_document) {
  const auto found = find_compiler(key_document);
  if (!found) return {};
  const std::string_view member = key_document.substr(found->begin, found->end - found->begin);
  return member.substr(member.find('{'));
}

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
