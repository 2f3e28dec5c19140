// A bounds-checked view of a 64-bit little-endian ELF file: a cubin, or libnvrtc itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace librt::jit {

/// Reads a trivially copyable value at `offset`. Throws Error(corrupt) if it does not fit; `what` names it.
template <typename T>
T read_at(std::span<const std::byte> bytes, std::uint64_t offset, std::string_view what);

struct ElfSection {
  std::string_view name;
  std::uint32_t type = 0;
  std::uint32_t link = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // in memory; equal to bytes.size() unless the section has no bytes (NOBITS)
  std::uint64_t entry_size = 0;
  std::span<const std::byte> bytes;
};

struct ElfSymbol {
  std::string_view name;
  std::uint8_t type = 0;
  std::uint8_t other = 0;
  std::uint16_t section = 0;
};

/// Views into the bytes it was made from, which must outlive it.
class ElfFile {
 public:
  /// Throws Error(corrupt) if the header, the section table or a section's extent is not as ELF says.
  explicit ElfFile(std::span<const std::byte> bytes);

  std::uint16_t machine() const noexcept { return machine_; }
  std::uint16_t type() const noexcept { return type_; }
  std::uint8_t abi_version() const noexcept { return abi_version_; }
  std::uint32_t flags() const noexcept { return flags_; }
  const std::vector<ElfSection>& sections() const noexcept { return sections_; }
  /// The one section of that name; null if there is none. Throws Error(corrupt) if there are several.
  const ElfSection* find(std::string_view name) const;
  /// All symbols of the first section of `section_type` (SHT_SYMTAB or SHT_DYNSYM), in its order; empty if there is
  /// none.
  std::vector<ElfSymbol> symbols(std::uint32_t section_type) const;

 private:
  std::uint16_t machine_ = 0;
  std::uint16_t type_ = 0;
  std::uint8_t abi_version_ = 0;
  std::uint32_t flags_ = 0;
  std::vector<ElfSection> sections_;
};

struct ElfNote {
  std::string_view name;  // "GNU", "NVIDIA Corp"
  std::uint32_t type = 0;
  std::span<const std::byte> description;
};

/// The notes of a SHT_NOTE section. Throws Error(corrupt).
std::vector<ElfNote> read_notes(const ElfSection& section);

[[noreturn]] void throw_corrupt_elf(const std::string& what);

template <typename T>
T read_at(std::span<const std::byte> bytes, std::uint64_t offset, std::string_view what) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
    throw_corrupt_elf(std::string(what) + " at offset " + std::to_string(offset) + " is past the end (" +
                      std::to_string(bytes.size()) + " bytes)");
  }
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

}  // namespace librt::jit
