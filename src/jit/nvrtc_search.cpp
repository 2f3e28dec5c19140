#include "src/jit/nvrtc_search.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fnmatch.h>
#include <link.h>

#include <fstream>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include "src/util/env.hpp"
#include "src/util/files.hpp"

namespace librt::jit {
namespace {

namespace fs = std::filesystem;

#if defined(__x86_64__)
constexpr const char* kHostTriple = "x86_64-linux";
#elif defined(__aarch64__)
constexpr const char* kHostTriple = "sbsa-linux";
#else
#error "NVRTC exists for x86-64 and AArch64 only"
#endif

/// The loader's $ORIGIN, replaced.
std::string with_origin(std::string list, const std::string& directory) {
  for (const std::string token : {"$ORIGIN", "${ORIGIN}"}) {
    for (std::size_t at = 0; (at = list.find(token, at)) != std::string::npos; at += directory.size()) {
      list.replace(at, token.size(), directory);
    }
  }
  return list;
}

class Places {
 public:
  void add(const fs::path& directory, const std::string& origin) {
    // A relative directory would make the compiler depend on where the program was started.
    if (directory.is_absolute() && seen_.insert(directory.lexically_normal()).second) {
      places_.push_back({directory, origin});
    }
  }

  /// As LD_LIBRARY_PATH has it. An empty item means the current directory to the loader; add() drops it.
  void add_list(const std::string& list, const std::string& origin) {
    std::istringstream stream(list);
    for (std::string item; std::getline(stream, item, ':');) add(item, origin);
  }

  void add_toolkit(const fs::path& root, const std::string& origin) {
    for (const fs::path& part : {fs::path("lib64"), fs::path("lib"), fs::path("targets") / kHostTriple / "lib"}) {
      add(root / part, origin);
    }
  }

  /// A Python environment: the wheels of NVRTC 13 and 12, and what conda puts beside Python.
  void add_environment(const fs::path& root, const std::string& origin) {
    std::set<fs::path> pythons;
    for (const std::string& name : util::names_in(root / "lib")) {
      if (name.starts_with("python3")) pythons.insert(root / "lib" / name);
    }
    for (const fs::path& python : pythons) add(python / "site-packages/nvidia/cu13/lib", origin);
    for (const fs::path& python : pythons) add(python / "site-packages/nvidia/cuda_nvrtc/lib", origin);
    add_toolkit(root, origin);
  }

  void add_loader_configuration(const fs::path& file, int depth) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) {
      line = line.substr(0, line.find('#'));
      std::istringstream words(line);
      std::string word;
      if (!(words >> word)) continue;
      if (word != "include") {
        add(word, "the loader's configuration");
        continue;
      }
      while (depth > 0 && words >> word) {
        // Wildcards in the last part, which is where they are; glob() frees twice where memory runs out.
        const fs::path pattern = fs::path("/etc") / word;
        for (const std::string& name : util::names_in(pattern.parent_path())) {
          if (::fnmatch(pattern.filename().c_str(), name.c_str(), FNM_PERIOD) == 0) {
            add_loader_configuration(pattern.parent_path() / name, depth - 1);
          }
        }
      }
    }
  }

  /// DT_RUNPATH or DT_RPATH of the program or shared library that holds this function.
  void add_own_run_path() {
    Dl_info info{};
    void* found = nullptr;
    if (::dladdr1(reinterpret_cast<const void*>(&nvrtc_search_places), &info, &found, RTLD_DL_LINKMAP) == 0) return;
    const auto* self = static_cast<const link_map*>(found);
    // The program itself has no name here.
    std::error_code error;
    const fs::path file = *self->l_name != '\0' ? fs::path(self->l_name) : fs::read_symlink("/proc/self/exe", error);
    const char* strings = nullptr;
    std::vector<ElfW(Xword)> lists;
    for (const ElfW(Dyn)* entry = self->l_ld; entry->d_tag != DT_NULL; ++entry) {
      if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(entry->d_un.d_ptr);
      if (entry->d_tag == DT_RUNPATH || entry->d_tag == DT_RPATH) lists.push_back(entry->d_un.d_val);
    }
    for (const ElfW(Xword) at : lists) {
      add_list(with_origin(strings + at, file.parent_path().string()), "the run path of " + file.filename().string());
    }
  }

  std::vector<SearchPlace> take() { return std::move(places_); }

 private:
  std::vector<SearchPlace> places_;
  std::set<fs::path> seen_;
};

}  // namespace

std::vector<SearchPlace> nvrtc_search_places() {
  Places places;
  for (const char* name : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const auto root = util::env(name)) places.add_toolkit(*root, name);
  }
  for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (const auto root = util::env(name)) places.add_environment(*root, name);
  }
  std::istringstream path(util::env("PATH").value_or(""));
  for (std::string directory; std::getline(path, directory, ':');) {
    if (!fs::path(directory).is_absolute()) continue;
    std::error_code error;
    const fs::path nvcc = fs::canonical(fs::path(directory) / "nvcc", error);
    if (!error) places.add_toolkit(nvcc.parent_path().parent_path(), "nvcc on PATH");
  }
  places.add_list(util::env("LD_LIBRARY_PATH").value_or(""), "LD_LIBRARY_PATH");
  places.add_own_run_path();
  places.add_loader_configuration("/etc/ld.so.conf", 4);
  for (const char* usual : {"/lib64", "/usr/lib64", "/lib", "/usr/lib"}) places.add(usual, "the loader's usual places");
  places.add_toolkit("/usr/local/cuda", "CUDA's usual prefix");
  return places.take();
}

}  // namespace librt::jit
