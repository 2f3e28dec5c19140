#include "src/jit/binary_info.hpp"

#include <librt/error.hpp>

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <map>

#include "src/jit/elf.hpp"

namespace librt::jit {
namespace {

// Ours have one; the bound keeps hostile bytes from making the reader quadratic.
constexpr std::size_t kMaxKernels = 256;

// Facts of the cubin format, checked against ptxas's own report.
constexpr std::uint16_t kMachineCuda = 190;
constexpr std::uint8_t kEntryFlag = 0x10;       // st_other of a kernel's symbol
constexpr std::uint8_t kAbiWithShiftedSm = 8;   // CUDA 13: the SM number is in bits 8..15 of e_flags, before in 0..7
constexpr int kFirstSmWithReservedShared = 90;  // from here on .nv.shared.K counts what the system reserves
constexpr std::uint64_t kReservedSharedBytes = 1024;

// Attributes of .nv.info records.
enum : std::uint8_t { kMaxThreads = 0x05, kFrameSize = 0x11, kRegisterCount = 0x2f };
// Record formats: only the last carries bytes behind its 4-byte head, as many as its u16 says.
constexpr std::uint8_t kFormatSized = 4;

int to_int(std::uint64_t value, std::string_view what) {
  if (value > static_cast<std::uint64_t>(std::numeric_limits<int>::max())) {
    throw_corrupt_elf(fmt::format("{} is {}", what, value));
  }
  return static_cast<int>(value);
}

struct Attribute {
  std::uint8_t code = 0;
  std::span<const std::byte> payload;
};

std::vector<Attribute> read_attributes(const ElfSection& section) {
  std::vector<Attribute> attributes;
  for (std::uint64_t at = 0; at < section.bytes.size();) {
    const auto format = read_at<std::uint8_t>(section.bytes, at, section.name);
    const auto code = read_at<std::uint8_t>(section.bytes, at + 1, section.name);
    const auto size = read_at<std::uint16_t>(section.bytes, at + 2, section.name);
    at += 4;
    if (format != kFormatSized) continue;
    if (size > section.bytes.size() - at) {
      throw_corrupt_elf(fmt::format("attribute 0x{:02x} at offset {} of {} has {} bytes, {} are left", code, at - 4,
                                    section.name, size, section.bytes.size() - at));
    }
    attributes.push_back({.code = code, .payload = section.bytes.subspan(at, size)});
    at += size;
  }
  return attributes;
}

/// Every run of printable characters in the assembler's note.
std::vector<std::string_view> printable_runs(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string_view> runs;
  const auto is_printable = [](char c) { return c >= ' ' && c <= '~'; };
  for (auto begin = text.begin(); begin != text.end();) {
    begin = std::find_if(begin, text.end(), is_printable);
    const auto end = std::find_if_not(begin, text.end(), is_printable);
    if (begin != end) runs.emplace_back(begin, end);
    begin = end;
  }
  return runs;
}

struct Signature {
  std::string target;
  std::string toolchain;
};

Signature read_signature(const ElfFile& elf) {
  Signature signature;
  const ElfSection* note = elf.find(".note.nv.tkinfo");
  if (note == nullptr) return signature;
  for (const std::string_view run : printable_runs(note->bytes)) {
    if (run.starts_with("Cuda compilation tools")) signature.toolchain = run;
    constexpr std::string_view kOption = "-arch sm_";
    if (const std::size_t at = run.find(kOption); at != std::string_view::npos) {
      const std::string_view rest = run.substr(at + std::string_view("-arch ").size());
      signature.target = rest.substr(0, rest.find_first_of(" \t"));
    }
  }
  return signature;
}

bool names_sm(std::string_view target, int sm) {
  const std::string plain = fmt::format("sm_{}", sm);
  return target == plain || target == plain + 'a' || target == plain + 'f';
}

using KernelBySymbol = std::map<std::size_t, CubinKernel*>;

void read_common_attributes(const ElfSection& section, const KernelBySymbol& kernels) {
  for (const Attribute& attribute : read_attributes(section)) {
    if (attribute.code != kRegisterCount && attribute.code != kFrameSize) continue;
    const auto kernel = kernels.find(read_at<std::uint32_t>(attribute.payload, 0, "symbol of an attribute"));
    if (kernel == kernels.end()) continue;
    const int value = to_int(read_at<std::uint32_t>(attribute.payload, 4, "value of an attribute"), "an attribute");
    KernelResources& resources = kernel->second->resources;
    (attribute.code == kRegisterCount ? resources.registers : resources.stack_bytes) = value;
  }
}

void read_own_attributes(const ElfSection& section, KernelResources& resources) {
  for (const Attribute& attribute : read_attributes(section)) {
    if (attribute.code != kMaxThreads) continue;
    std::uint64_t threads = 1;
    for (std::uint64_t axis = 0; axis < 3; ++axis) {
      threads *= read_at<std::uint32_t>(attribute.payload, axis * 4, "launch bounds");
      to_int(threads, "the number of threads in the launch bounds");
    }
    resources.max_threads = static_cast<int>(threads);
  }
}

void read_sections_of(const ElfFile& elf, CubinKernel& kernel, int sm) {
  KernelResources& resources = kernel.resources;
  const ElfSection* text = elf.find(".text." + kernel.name);
  if (text == nullptr) throw_corrupt_elf(fmt::format("kernel {} has no code", kernel.name));
  resources.code_bytes = to_int(text->size, "code size");
  if (const ElfSection* shared = elf.find(".nv.shared." + kernel.name)) {
    const std::uint64_t reserved = sm >= kFirstSmWithReservedShared ? kReservedSharedBytes : 0;
    resources.static_shared_bytes = to_int(shared->size - std::min(shared->size, reserved), "shared memory");
  }
  if (const ElfSection* info = elf.find(".nv.info." + kernel.name)) read_own_attributes(*info, resources);
}

}  // namespace

CubinInfo read_cubin(std::span<const std::byte> bytes) {
  const ElfFile elf(bytes);
  if (elf.machine() != kMachineCuda) {
    throw_corrupt_elf(fmt::format("machine {} at offset {}: a cubin has {}", elf.machine(),
                                  offsetof(Elf64_Ehdr, e_machine), kMachineCuda));
  }
  CubinInfo info;
  info.sm = static_cast<int>((elf.abi_version() >= kAbiWithShiftedSm ? elf.flags() >> 8 : elf.flags()) & 0xff);
  const Signature signature = read_signature(elf);
  info.target = fmt::format("sm_{}", info.sm);
  if (!signature.target.empty()) {
    if (!names_sm(signature.target, info.sm)) {
      throw_corrupt_elf(fmt::format("the header says {}, the assembler's note {}", info.target, signature.target));
    }
    info.target = signature.target;
  }

  const std::vector<ElfSymbol> symbols = elf.symbols(SHT_SYMTAB);
  std::vector<std::size_t> entries;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i].type == STT_FUNC && (symbols[i].other & kEntryFlag) != 0) entries.push_back(i);
  }
  if (entries.size() > kMaxKernels) throw_corrupt_elf(fmt::format("{} kernels", entries.size()));
  info.kernels.resize(entries.size());
  KernelBySymbol by_symbol;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    CubinKernel& kernel = info.kernels[i];
    kernel.name = symbols[entries[i]].name;
    kernel.resources.toolchain = signature.toolchain;
    read_sections_of(elf, kernel, info.sm);
    by_symbol.emplace(entries[i], &kernel);
  }
  if (const ElfSection* common = elf.find(".nv.info")) read_common_attributes(*common, by_symbol);
  return info;
}

}  // namespace librt::jit
