#include "src/cache/entry.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "src/util/json_bounds.hpp"

namespace librt::cache {
namespace {

// All of these are frozen: they are on the disks of users. src/cache/README.md has the same as tables.
constexpr std::array kMagic{std::byte{'L'}, std::byte{'R'}, std::byte{'T'}, std::byte{'K'}};
constexpr std::uint16_t kFormat = 1;
constexpr std::size_t kHeaderBytes = 64;
constexpr std::size_t kSectionBytes = 24;
constexpr std::size_t kTrailerBytes = 32;
constexpr std::size_t kAlignment = 64;
constexpr std::uint32_t kMaxSections = 16;

enum SectionType : std::uint32_t { kKeyDocument = 1, kMeta = 2, kCubin = 3, kPtx = 4, kSource = 5, kSectionTypeEnd };

// Offsets in the header.
constexpr std::size_t kFormatAt = 4;
constexpr std::size_t kFlagsAt = 6;
constexpr std::size_t kSectionCountAt = 8;
constexpr std::size_t kReservedAt = 12;
constexpr std::size_t kTotalAt = 16;
constexpr std::size_t kKeyAt = 24;
constexpr std::size_t kTailAt = 56;

using Bytes = std::span<const std::byte>;

struct Section {
  std::uint32_t type;
  Bytes bytes;
};

constexpr std::size_t align_up(std::size_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

template <std::unsigned_integral T>
void store(std::span<std::byte> out, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out[at + i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
}

template <std::unsigned_integral T>
T load(Bytes in, std::size_t at) {
  T value = 0;
  for (std::size_t i = sizeof(T); i-- > 0;) value = static_cast<T>((value << 8) | std::to_integer<T>(in[at + i]));
  return value;
}

Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte value) { return value == std::byte{0}; });
}

/// The header, but for the checksum. Empty when nothing is wrong.
std::string header_problem(Bytes file, const util::Digest& key) {
  if (file.size() < kHeaderBytes + kTrailerBytes) {
    return fmt::format("{} bytes, fewer than a header and a checksum", file.size());
  }
  if (file.size() > kMaxEntryBytes) return fmt::format("{} bytes; at most {} are allowed", file.size(), kMaxEntryBytes);
  if (!std::equal(kMagic.begin(), kMagic.end(), file.begin())) return "it does not begin with LRTK";
  if (const auto format = load<std::uint16_t>(file, kFormatAt); format != kFormat) {
    return fmt::format("format {}; this librt reads {}", format, kFormat);
  }
  if (const auto total = load<std::uint64_t>(file, kTotalAt); total != file.size()) {
    return fmt::format("{} bytes, while its header says {}", file.size(), total);
  }
  const util::Digest checksum = util::hash(file.first(file.size() - kTrailerBytes));
  if (!std::equal(checksum.begin(), checksum.end(), file.end() - kTrailerBytes)) return "the checksum does not match";
  if (const Bytes own = file.subspan(kKeyAt, key.size()); !std::equal(key.begin(), key.end(), own.begin())) {
    return fmt::format("it is the entry of key {}", util::to_hex(own));
  }
  if (load<std::uint16_t>(file, kFlagsAt) != 0 || load<std::uint32_t>(file, kReservedAt) != 0 ||
      !all_zero(file.subspan(kTailAt, kHeaderBytes - kTailAt))) {
    return "a reserved field of the header is not zero";
  }
  return {};
}

/// Puts the bytes of each section that this format knows into `sections`. Empty when nothing is wrong.
std::string read_table(Bytes file, std::array<Bytes, kSectionTypeEnd>& sections) {
  const auto count = load<std::uint32_t>(file, kSectionCountAt);
  const std::size_t end = file.size() - kTrailerBytes;
  if (count > kMaxSections) return fmt::format("{} sections; at most {} are allowed", count, kMaxSections);
  std::size_t next = kHeaderBytes + count * kSectionBytes;
  if (next > end) return fmt::format("the table of {} sections does not fit", count);
  std::uint32_t previous_type = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::size_t row = kHeaderBytes + i * kSectionBytes;
    const auto type = load<std::uint32_t>(file, row);
    const auto offset = load<std::uint64_t>(file, row + 8);
    const auto length = load<std::uint64_t>(file, row + 16);
    if (load<std::uint32_t>(file, row + 4) != 0) return fmt::format("section {}: a reserved field is not zero", i);
    if (type <= previous_type) return fmt::format("section {}: type {} after type {}", i, type, previous_type);
    if (length == 0) return fmt::format("section {}: it is empty", i);
    const std::size_t begin = align_up(next);
    if (offset != begin) return fmt::format("section {}: at offset {}, expected at {}", i, offset, begin);
    if (begin > end) return fmt::format("section {}: it begins behind the end", i);
    if (length > end - begin) return fmt::format("section {}: {} bytes do not fit", i, length);
    if (!all_zero(file.subspan(next, begin - next))) return fmt::format("section {}: not zeros before it", i);
    if (type < kSectionTypeEnd) sections[type] = file.subspan(begin, static_cast<std::size_t>(length));
    next = begin + static_cast<std::size_t>(length);
    previous_type = type;
  }
  if (next != end) return fmt::format("{} bytes after the last section", end - next);
  if (sections[kKeyDocument].empty()) return "it has no key document";
  if (sections[kMeta].empty()) return "it has no metadata";
  return {};
}

}  // namespace

std::vector<std::byte> encode_entry(const util::Digest& key, const Entry& entry) {
  if (entry.key_document.empty() || entry.meta.empty()) {
    throw Error(ErrorCode::invalid_argument, "a cache entry needs a key document and metadata; one of them is empty");
  }
  for (const std::string* text : {&entry.key_document, &entry.meta}) {
    if (const std::string problem = util::json_problem(*text); !problem.empty()) {
      throw Error(ErrorCode::invalid_argument, fmt::format("the {} of a cache entry {}",
                                                           text == &entry.meta ? "metadata" : "key document", problem));
    }
  }
  std::vector<Section> sections{{kKeyDocument, bytes_of(entry.key_document)},
                                {kMeta, bytes_of(entry.meta)},
                                {kCubin, entry.cubin},
                                {kPtx, bytes_of(entry.ptx)},
                                {kSource, bytes_of(entry.source)}};
  std::erase_if(sections, [](const Section& section) { return section.bytes.empty(); });

  std::vector<std::size_t> offsets;
  std::size_t end = kHeaderBytes + sections.size() * kSectionBytes;
  for (const Section& section : sections) {
    offsets.push_back(align_up(end));
    end = offsets.back() + section.bytes.size();
  }
  const std::size_t total = end + kTrailerBytes;
  if (total > kMaxEntryBytes) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("a cache entry of {} bytes; at most {} are allowed", total, kMaxEntryBytes));
  }

  std::vector<std::byte> file(total);
  std::copy(kMagic.begin(), kMagic.end(), file.begin());
  store(file, kFormatAt, kFormat);
  store(file, kSectionCountAt, static_cast<std::uint32_t>(sections.size()));
  store(file, kTotalAt, static_cast<std::uint64_t>(total));
  std::memcpy(file.data() + kKeyAt, key.data(), key.size());
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const std::size_t row = kHeaderBytes + i * kSectionBytes;
    store(file, row, sections[i].type);
    store(file, row + 8, static_cast<std::uint64_t>(offsets[i]));
    store(file, row + 16, static_cast<std::uint64_t>(sections[i].bytes.size()));
    std::memcpy(file.data() + offsets[i], sections[i].bytes.data(), sections[i].bytes.size());
  }
  const util::Digest checksum = util::hash(Bytes(file).first(end));
  std::memcpy(file.data() + end, checksum.data(), checksum.size());
  return file;
}

std::variant<Entry, Rejected> decode_entry(std::span<const std::byte> bytes, const util::Digest& key) {
  if (std::string problem = header_problem(bytes, key); !problem.empty()) return Rejected{std::move(problem)};
  std::array<Bytes, kSectionTypeEnd> sections{};
  if (std::string problem = read_table(bytes, sections); !problem.empty()) return Rejected{std::move(problem)};
  const Bytes cubin = sections[kCubin];
  return Entry{.key_document = text_of(sections[kKeyDocument]),
               .meta = text_of(sections[kMeta]),
               .cubin = {cubin.begin(), cubin.end()},
               .ptx = text_of(sections[kPtx]),
               .source = text_of(sections[kSource])};
}

}  // namespace librt::cache
