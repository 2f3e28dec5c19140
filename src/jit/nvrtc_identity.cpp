#include "src/jit/nvrtc_identity.hpp"

#include <librt/error.hpp>

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <glob.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>
#include <vector>

#include "src/jit/elf.hpp"
#include "src/util/env.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"

#ifndef LIBRT_BUILD_NVRTC_DIR
#define LIBRT_BUILD_NVRTC_DIR ""
#endif

namespace librt::jit {
namespace {

namespace fs = std::filesystem;

#if defined(__x86_64__)
constexpr std::uint16_t kHostMachine = EM_X86_64;
constexpr const char* kHostTriple = "x86_64-linux";
#elif defined(__aarch64__)
constexpr std::uint16_t kHostMachine = EM_AARCH64;
constexpr const char* kHostTriple = "sbsa-linux";
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

void append_list(std::vector<fs::path>& directories, const std::string& list) {
  std::istringstream stream(list);
  for (std::string item; std::getline(stream, item, ':');) {
    // An empty item means the current directory to the loader, which must not choose a compiler.
    if (!item.empty()) directories.emplace_back(item);
  }
}

void append_loader_config(std::vector<fs::path>& directories, const std::string& file, int depth) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    line = line.substr(0, line.find('#'));
    std::istringstream words(line);
    std::string word;
    if (!(words >> word)) continue;
    if (word != "include") {
      directories.emplace_back(word);
      continue;
    }
    while (depth > 0 && words >> word) {
      if (!word.starts_with('/')) word = "/etc/" + word;
      glob_t found{};
      if (::glob(word.c_str(), 0, nullptr, &found) == 0) {
        for (std::size_t i = 0; i < found.gl_pathc; ++i)
          append_loader_config(directories, found.gl_pathv[i], depth - 1);
      }
      ::globfree(&found);
    }
  }
}

void append_toolkit(std::vector<fs::path>& directories, const fs::path& root) {
  for (const fs::path& part : {fs::path("lib64"), fs::path("lib"), fs::path("targets") / kHostTriple / "lib"}) {
    directories.push_back(root / part);
  }
}

std::vector<fs::path> search_directories() {
  std::vector<fs::path> directories;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const auto root = util::env(name)) append_toolkit(directories, *root);
  }
  std::vector<fs::path> path;
  append_list(path, util::env("PATH").value_or(""));
  for (const fs::path& directory : path) {
    std::error_code error;
    const fs::path nvcc = fs::canonical(directory / "nvcc", error);
    if (!error) append_toolkit(directories, nvcc.parent_path().parent_path());
  }
  append_list(directories, util::env("LD_LIBRARY_PATH").value_or(""));
  append_loader_config(directories, "/etc/ld.so.conf", 4);
  for (const char* usual : {"/lib64", "/usr/lib64", "/lib", "/usr/lib"}) directories.emplace_back(usual);
  append_toolkit(directories, "/usr/local/cuda");
  if (*LIBRT_BUILD_NVRTC_DIR != '\0') directories.emplace_back(LIBRT_BUILD_NVRTC_DIR);
  return directories;
}

constexpr const char* kHelp =
    "install CUDA's NVRTC 13 (its runtime library package, or the wheel nvidia-cuda-nvrtc) or set LIBRT_NVRTC to the "
    "path of libnvrtc.so.13";

}  // namespace

NvrtcIdentity identify_nvrtc(const std::string& requested) {
  if (!requested.empty()) {
    try {
      return inspect(requested);
    } catch (const Error& reason) {
      throw Error(ErrorCode::no_nvrtc, fmt::format("\"{}\" is not a usable libnvrtc: {}", requested, reason.what()),
                  fmt::format("asked for by Options::nvrtc or LIBRT_NVRTC, so nothing else is tried; {}", kHelp));
    }
  }
  std::vector<std::string> searched;
  std::set<fs::path> seen;
  for (const fs::path& directory : search_directories()) {
    // A relative directory would make the compiler depend on where the program was started.
    if (!directory.is_absolute() || !seen.insert(directory.lexically_normal()).second) continue;
    for (const char* name : {"libnvrtc.so.13", "libnvrtc.so.12"}) {
      const fs::path candidate = directory / name;
      std::error_code error;
      if (!fs::exists(candidate, error)) continue;
      try {
        return inspect(candidate);
      } catch (const Error& reason) {
        searched.push_back(reason.what());
      }
    }
    searched.push_back(directory.string());
  }
  throw Error(ErrorCode::no_nvrtc, fmt::format("no libnvrtc.so.13 or libnvrtc.so.12 was found: {}", kHelp),
              fmt::format("searched:\n  {}", fmt::join(searched, "\n  ")));
}

}  // namespace librt::jit
