#include "src/jit/elf.hpp"

#include <librt/error.hpp>

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>

namespace librt::jit {
namespace {

// No compiler writes longer names; the bound keeps a hostile string table from making the reader quadratic.
constexpr std::size_t kMaxNameBytes = 4096;

std::string_view string_at(std::span<const std::byte> table, std::uint64_t offset, std::string_view what) {
  if (offset >= table.size()) {
    throw_corrupt_elf(
        fmt::format("name of {} at {} is outside its string table ({} bytes)", what, offset, table.size()));
  }
  const std::size_t limit = std::min<std::size_t>(table.size() - offset, kMaxNameBytes);
  const auto* begin = reinterpret_cast<const char*>(table.data() + offset);
  const void* end = std::memchr(begin, 0, limit);
  if (end == nullptr) throw_corrupt_elf(fmt::format("name of {} at {} is not terminated", what, offset));
  return {begin, static_cast<std::size_t>(static_cast<const char*>(end) - begin)};
}

std::span<const std::byte> extent(std::span<const std::byte> bytes, std::uint64_t offset, std::uint64_t size,
                                  std::string_view what) {
  if (offset > bytes.size() || size > bytes.size() - offset) {
    throw_corrupt_elf(
        fmt::format("{} at offset {} with {} bytes is past the end ({} bytes)", what, offset, size, bytes.size()));
  }
  return bytes.subspan(offset, size);
}

}  // namespace

void throw_corrupt_elf(const std::string& what) {
  throw Error(ErrorCode::corrupt, "ELF: " + what);
}

ElfFile::ElfFile(std::span<const std::byte> bytes) {
  const auto header = read_at<Elf64_Ehdr>(bytes, 0, "header");
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) throw_corrupt_elf("no ELF magic at offset 0");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    throw_corrupt_elf(fmt::format("class {} and byte order {} at offset {}: 64 bit, little-endian is expected",
                                  header.e_ident[EI_CLASS], header.e_ident[EI_DATA], EI_CLASS));
  }
  machine_ = header.e_machine;
  type_ = header.e_type;
  abi_version_ = header.e_ident[EI_ABIVERSION];
  flags_ = header.e_flags;
  // Not read, but a file cut within it is damaged.
  extent(bytes, header.e_phoff, std::uint64_t{header.e_phnum} * header.e_phentsize, "program header table");
  if (header.e_shnum == 0) return;
  if (header.e_shentsize != sizeof(Elf64_Shdr)) {
    throw_corrupt_elf(fmt::format("section headers of {} bytes each", header.e_shentsize));
  }
  const auto table =
      extent(bytes, header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr), "section header table");
  std::vector<Elf64_Shdr> headers(header.e_shnum);
  std::memcpy(headers.data(), table.data(), table.size());
  if (header.e_shstrndx >= headers.size()) {
    throw_corrupt_elf(fmt::format("section name table {} of {} sections", header.e_shstrndx, headers.size()));
  }
  const Elf64_Shdr& names_header = headers[header.e_shstrndx];
  if (names_header.sh_type == SHT_NOBITS) throw_corrupt_elf("the section name table has no bytes");
  const auto names = extent(bytes, names_header.sh_offset, names_header.sh_size, "section name table");
  sections_.reserve(headers.size());
  for (std::size_t i = 0; i < headers.size(); ++i) {
    const Elf64_Shdr& from = headers[i];
    const std::string what = fmt::format("section {}", i);
    ElfSection section{.name = string_at(names, from.sh_name, what),
                       .type = from.sh_type,
                       .link = from.sh_link,
                       .offset = from.sh_offset,
                       .size = from.sh_size,
                       .entry_size = from.sh_entsize,
                       .bytes = {}};
    if (from.sh_type != SHT_NOBITS && from.sh_type != SHT_NULL) {
      section.bytes = extent(bytes, from.sh_offset, from.sh_size, what);
    }
    sections_.push_back(section);
  }
}

const ElfSection* ElfFile::find(std::string_view name) const {
  const ElfSection* found = nullptr;
  for (const ElfSection& section : sections_) {
    if (section.name != name) continue;
    if (found != nullptr) {
      throw_corrupt_elf(fmt::format("two sections {} at offsets {} and {}", name, found->offset, section.offset));
    }
    found = &section;
  }
  return found;
}

std::vector<ElfSymbol> ElfFile::symbols(std::uint32_t section_type) const {
  const auto table = std::find_if(sections_.begin(), sections_.end(),
                                  [&](const ElfSection& section) { return section.type == section_type; });
  if (table == sections_.end()) return {};
  if (table->entry_size != sizeof(Elf64_Sym)) {
    throw_corrupt_elf(fmt::format("symbols of {} bytes each in {}", table->entry_size, table->name));
  }
  if (table->link >= sections_.size()) {
    throw_corrupt_elf(
        fmt::format("string table {} of {} is none of {} sections", table->link, table->name, sections_.size()));
  }
  const std::span<const std::byte> names = sections_[table->link].bytes;
  std::vector<ElfSymbol> symbols(table->bytes.size() / sizeof(Elf64_Sym));
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const auto from = read_at<Elf64_Sym>(table->bytes, i * sizeof(Elf64_Sym), "symbol");
    symbols[i] = {.name = string_at(names, from.st_name, "a symbol"),
                  .type = static_cast<std::uint8_t>(ELF64_ST_TYPE(from.st_info)),
                  .other = from.st_other,
                  .section = from.st_shndx};
  }
  return symbols;
}

std::vector<ElfNote> read_notes(const ElfSection& section) {
  const auto padded = [](std::uint64_t size) { return (size + 3) & ~std::uint64_t{3}; };
  std::vector<ElfNote> notes;
  std::uint64_t at = 0;
  while (at + sizeof(Elf64_Nhdr) <= section.bytes.size()) {
    const auto header = read_at<Elf64_Nhdr>(section.bytes, at, "note");
    at += sizeof(Elf64_Nhdr);
    const auto name = extent(section.bytes, at, header.n_namesz, "note name");
    at += padded(header.n_namesz);
    const auto description = extent(section.bytes, at, header.n_descsz, "note text");
    at += padded(header.n_descsz);
    std::string_view text(reinterpret_cast<const char*>(name.data()), name.size());
    notes.push_back({.name = text.substr(0, text.find('\0')), .type = header.n_type, .description = description});
  }
  return notes;
}

}  // namespace librt::jit
