#include "src/jit/nvrtc_identity.hpp"

#include <librt/error.hpp>

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <vector>

#include "src/jit/elf.hpp"
#include "src/jit/nvrtc_search.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"

namespace librt::jit {
namespace {

namespace fs = std::filesystem;

#if defined(__x86_64__)
constexpr std::uint16_t kHostMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr std::uint16_t kHostMachine = EM_AARCH64;
#else
#error "NVRTC exists for x86-64 and AArch64 only"
#endif

/// A library's bytes without reading 100 MB of them: what describes it at first, the rest when it is asked for. Read,
/// not mapped from the file: one that is overwritten meanwhile would end the process with SIGBUS.
class LibraryFile {
 public:
  explicit LibraryFile(const std::string& path) : path_(path) {
    fd_ = util::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!fd_ || ::fstat(fd_.get(), &status) != 0) fail(util::error_text(errno));
    if (!S_ISREG(status.st_mode)) fail("not a regular file");
    if (status.st_size == 0) fail("empty");
    size_ = static_cast<std::size_t>(status.st_size);
    void* const room =
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) fail(util::error_text(errno));
    data_ = static_cast<std::byte*>(room);
    try {
      read_description();
    } catch (...) {
      ::munmap(data_, size_);
      throw;
    }
  }
  ~LibraryFile() { ::munmap(data_, size_); }
  LibraryFile(const LibraryFile&) = delete;
  LibraryFile& operator=(const LibraryFile&) = delete;

  /// As long as the file; of its sections only those that hold symbols, strings and notes are there, the others are
  /// zeros.
  std::span<const std::byte> description() const { return {data_, size_}; }
  std::span<const std::byte> all() const {
    read(0, size_);
    return {data_, size_};
  }

 private:
  void read_description() const {
    read(0, sizeof(Elf64_Ehdr));
    if (size_ < sizeof(Elf64_Ehdr)) return;  // what is wrong with a file is for ElfFile to say
    Elf64_Ehdr header;
    std::memcpy(&header, data_, sizeof header);
    const std::uint64_t table_bytes = std::uint64_t{header.e_shnum} * sizeof(Elf64_Shdr);
    if (header.e_shentsize != sizeof(Elf64_Shdr) || !read(header.e_shoff, table_bytes)) return;
    for (std::uint64_t i = 0; i < header.e_shnum; ++i) {
      Elf64_Shdr section;
      std::memcpy(&section, data_ + header.e_shoff + i * sizeof section, sizeof section);
      if (section.sh_type == SHT_NOTE || section.sh_type == SHT_DYNSYM || section.sh_type == SHT_STRTAB) {
        read(section.sh_offset, section.sh_size);
      }
    }
  }

  /// False if that is not in the file.
  bool read(std::uint64_t offset, std::uint64_t bytes) const {
    if (offset > size_ || bytes > size_ - offset) return false;
    for (std::uint64_t done = 0; done < bytes;) {
      const ssize_t got = ::pread(fd_.get(), data_ + offset + done, bytes - done, static_cast<off_t>(offset + done));
      if (got == 0) fail("it shrank while it was read");
      if (got < 0 && errno != EINTR) fail(util::error_text(errno));
      if (got > 0) done += static_cast<std::uint64_t>(got);
    }
    return true;
  }

  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorCode::io, fmt::format("{}: {}", path_, reason));
  }

  std::string path_;
  util::UniqueFd fd_;
  std::size_t size_ = 0;
  std::byte* data_ = nullptr;
};

std::string build_id(const LibraryFile& file, const ElfFile& elf) {
  for (const ElfSection& section : elf.sections()) {
    if (section.type != SHT_NOTE) continue;
    for (const ElfNote& note : read_notes(section)) {
      if (note.type == NT_GNU_BUILD_ID && note.name == "GNU" && !note.description.empty()) {
        return util::to_hex(note.description);
      }
    }
  }
  return "blake2b:" + util::to_hex(util::hash(file.all()));
}

/// The version that a name ends with: "13.0" of libnvrtc-builtins.so.13.0, "12.4" of libnvrtc.so.12.4.127.
std::string version_suffix(std::string_view name, std::string_view stem) {
  if (!name.starts_with(stem) || !name.substr(stem.size()).starts_with(".so.")) return "";
  const std::string_view version = name.substr(stem.size() + std::string_view(".so.").size());
  const std::size_t dot = version.find('.');
  if (dot == std::string_view::npos) return "";
  const std::string_view major = version.substr(0, dot);
  const std::string_view rest = version.substr(dot + 1);
  const std::string_view minor = rest.substr(0, rest.find('.'));
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  return is_number(major) && is_number(minor) ? fmt::format("{}.{}", major, minor) : "";
}

std::string named_in(const LibraryFile& library) {
  const std::span<const std::byte> bytes = library.all();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  constexpr std::string_view kStem = "libnvrtc-builtins.so.";
  for (std::size_t at = text.find(kStem); at != std::string_view::npos; at = text.find(kStem, at + 1)) {
    const std::size_t end = text.find_first_not_of("0123456789.", at + kStem.size());
    std::string name(text.substr(at, end == std::string_view::npos ? end : end - at));
    while (name.ends_with('.')) name.pop_back();
    if (const std::string version = version_suffix(name, "libnvrtc-builtins"); !version.empty()) return version;
  }
  return "";
}

void add_builtins(NvrtcIdentity& identity, const LibraryFile& library) {
  const fs::path path(identity.path);
  identity.version = version_suffix(path.filename().string(), "libnvrtc");
  std::set<std::string> versions;
  std::error_code ignored;
  for (const std::string& name : util::names_in(path.parent_path())) {
    const std::string version = version_suffix(name, "libnvrtc-builtins");
    if (!version.empty()) versions.insert(version);
  }
  if (identity.version.empty() && versions.size() == 1) identity.version = *versions.begin();
  // libnvrtc.so.13 holds the name of its builtins: needed where its own name and its neighbours do not settle which.
  if (identity.version.empty()) identity.version = named_in(library);
  const fs::path builtins = path.parent_path() / ("libnvrtc-builtins.so." + identity.version);
  if (identity.version.empty() || !fs::exists(builtins, ignored)) return;
  identity.builtins_path = fs::canonical(builtins, ignored);
  if (ignored) identity.builtins_path = builtins;
  const LibraryFile file(identity.builtins_path);
  identity.builtins_build_id = build_id(file, ElfFile(file.description()));
}

/// Throws Error(io or corrupt) that says why the file cannot be used.
NvrtcIdentity inspect(const fs::path& candidate) {
  std::error_code error;
  const fs::path path = fs::canonical(candidate, error);
  if (error) throw Error(ErrorCode::io, fmt::format("{}: {}", candidate.string(), error.message()));
  const LibraryFile file(path);
  NvrtcIdentity identity;
  identity.path = path;
  try {
    const ElfFile elf(file.description());
    if (elf.type() != ET_DYN || elf.machine() != kHostMachine) {
      throw_corrupt_elf("not a shared library of this processor");
    }
    const auto symbols = elf.symbols(SHT_DYNSYM);
    const auto is_compile = [](const ElfSymbol& symbol) { return symbol.name == "nvrtcCompileProgram"; };
    if (std::none_of(symbols.begin(), symbols.end(), is_compile)) {
      throw_corrupt_elf("it exports no nvrtcCompileProgram");
    }
    identity.build_id = build_id(file, elf);
    add_builtins(identity, file);
  } catch (const Error& reason) {
    throw Error(reason.code(), fmt::format("{}: {}", path.string(), reason.what()));
  }
  return identity;
}

constexpr const char* kHelp =
    "install CUDA's NVRTC 13 (its runtime library package, or the wheel nvidia-cuda-nvrtc in the active virtual "
    "environment) or set LIBRT_NVRTC to the path of libnvrtc.so.13";

}  // namespace

NvrtcIdentity identify_nvrtc(const std::string& requested) {
  if (!requested.empty()) {
    try {
      NvrtcIdentity identity = inspect(requested);
      identity.origin = "Options::nvrtc or LIBRT_NVRTC";
      return identity;
    } catch (const Error& reason) {
      throw Error(ErrorCode::no_nvrtc, fmt::format("\"{}\" is not a usable libnvrtc: {}", requested, reason.what()),
                  fmt::format("asked for by Options::nvrtc or LIBRT_NVRTC, so nothing else is tried; {}", kHelp));
    }
  }
  std::vector<std::string> searched, unusable;
  for (const SearchPlace& place : nvrtc_search_places()) {
    for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12"}) {
      const fs::path candidate = place.directory / name;
      std::error_code error;
      if (!fs::exists(candidate, error)) continue;
      try {
        NvrtcIdentity identity = inspect(candidate);
        identity.origin = place.origin;
        return identity;
      } catch (const Error& reason) {
        if (std::ranges::find(unusable, reason.what()) == unusable.end()) unusable.emplace_back(reason.what());
      }
    }
    searched.push_back(fmt::format("{} ({})", place.directory.string(), place.origin));
  }
  const std::string places = fmt::format("searched:\n  {}", fmt::join(searched, "\n  "));
  if (unusable.empty()) {
    throw Error(ErrorCode::no_nvrtc, fmt::format("no libnvrtc.so.13 or libnvrtc.so.12 was found: {}", kHelp), places);
  }
  // Nothing to install, perhaps: no file may be opened any more, or there is no memory.
  throw Error(ErrorCode::no_nvrtc, fmt::format("no libnvrtc that is here can be used: {}", fmt::join(unusable, "; ")),
              fmt::format("where it is not whole, {}\n{}", kHelp, places));
}

}  // namespace librt::jit
