#include "src/jit/nvrtc_identity.hpp"

#include <librt/error.hpp>

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
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

/// A file's bytes without reading 100 MB of them.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const util::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) fail(path, std::generic_category().message(errno));
    if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
    if (status.st_size == 0) fail(path, "empty");
    size_ = static_cast<std::size_t>(status.st_size);
    data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data_ == MAP_FAILED) fail(path, std::generic_category().message(errno));
  }
  ~MappedFile() { ::munmap(data_, size_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  [[noreturn]] static void fail(const std::string& path, const std::string& reason) {
    throw Error(ErrorCode::io, fmt::format("{}: {}", path, reason));
  }

  void* data_ = nullptr;
  std::size_t size_ = 0;
};

std::string build_id(std::span<const std::byte> bytes, const ElfFile& elf) {
  for (const ElfSection& section : elf.sections()) {
    if (section.type != SHT_NOTE) continue;
    for (const ElfNote& note : read_notes(section)) {
      if (note.type == NT_GNU_BUILD_ID && note.name == "GNU" && !note.description.empty()) {
        return util::to_hex(note.description);
      }
    }
  }
  return "blake2b:" + util::to_hex(util::hash(bytes));
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

std::string named_in(std::span<const std::byte> library) {
  const std::string_view text(reinterpret_cast<const char*>(library.data()), library.size());
  constexpr std::string_view kStem = "libnvrtc-builtins.so.";
  for (std::size_t at = text.find(kStem); at != std::string_view::npos; at = text.find(kStem, at + 1)) {
    const std::size_t end = text.find_first_not_of("0123456789.", at + kStem.size());
    std::string name(text.substr(at, end == std::string_view::npos ? end : end - at));
    while (name.ends_with('.')) name.pop_back();
    if (const std::string version = version_suffix(name, "libnvrtc-builtins"); !version.empty()) return version;
  }
  return "";
}

void add_builtins(NvrtcIdentity& identity, std::span<const std::byte> library) {
  const fs::path path(identity.path);
  identity.version = version_suffix(path.filename().string(), "libnvrtc");
  std::set<std::string> versions;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path.parent_path(), ignored)) {
    const std::string version = version_suffix(entry.path().filename().string(), "libnvrtc-builtins");
    if (!version.empty()) versions.insert(version);
  }
  if (identity.version.empty() && versions.size() == 1) identity.version = *versions.begin();
  // libnvrtc.so.13 holds the name of its builtins: needed where its own name and its neighbours do not settle which.
  if (identity.version.empty()) identity.version = named_in(library);
  const fs::path builtins = path.parent_path() / ("libnvrtc-builtins.so." + identity.version);
  if (identity.version.empty() || !fs::exists(builtins, ignored)) return;
  identity.builtins_path = fs::canonical(builtins);
  const MappedFile mapped(identity.builtins_path);
  identity.builtins_build_id = build_id(mapped.bytes(), ElfFile(mapped.bytes()));
}

/// Throws Error(io or corrupt) that says why the file cannot be used.
NvrtcIdentity inspect(const fs::path& candidate) {
  std::error_code error;
  const fs::path path = fs::canonical(candidate, error);
  if (error) throw Error(ErrorCode::io, fmt::format("{}: {}", candidate.string(), error.message()));
  const MappedFile mapped(path);
  NvrtcIdentity identity;
  identity.path = path;
  try {
    const ElfFile elf(mapped.bytes());
    if (elf.type() != ET_DYN || elf.machine() != kHostMachine) {
      throw_corrupt_elf("not a shared library of this processor");
    }
    const auto symbols = elf.symbols(SHT_DYNSYM);
    const auto is_compile = [](const ElfSymbol& symbol) { return symbol.name == "nvrtcCompileProgram"; };
    if (std::none_of(symbols.begin(), symbols.end(), is_compile)) {
      throw_corrupt_elf("it exports no nvrtcCompileProgram");
    }
    identity.build_id = build_id(mapped.bytes(), elf);
    add_builtins(identity, mapped.bytes());
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
  std::vector<std::string> searched;
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
        searched.push_back(reason.what());
      }
    }
    searched.push_back(fmt::format("{} ({})", place.directory.string(), place.origin));
  }
  throw Error(ErrorCode::no_nvrtc, fmt::format("no libnvrtc.so.13 or libnvrtc.so.12 was found: {}", kHelp),
              fmt::format("searched:\n  {}", fmt::join(searched, "\n  ")));
}

}  // namespace librt::jit
