#include "src/jit/nvrtc_identity.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "src/jit/nvrtc.hpp"
#include "src/jit/nvrtc_search.hpp"
#include "src/util/files.hpp"
#include "src/util/hash.hpp"
#include "tests/support/in_child.hpp"
#include "tests/support/scoped_env.hpp"
#include "tests/unit/jit/jit_support.hpp"

using namespace librt;
using namespace librt::jit;
using namespace librt::jit::test;

namespace {

#if defined(__aarch64__)
constexpr std::uint16_t kHostMachine = 183;
#else
constexpr std::uint16_t kHostMachine = 62;
#endif

std::string note(const std::string& build_id) {
  ByteWriter writer;
  writer.put<std::uint32_t>(4).put(static_cast<std::uint32_t>(build_id.size())).put<std::uint32_t>(3);
  return writer.text(std::string("GNU\0", 4)).text(build_id).pad_to(4).bytes();
}

/// A shared library that exports `symbol`; without a build id if `build_id` is empty.
std::string library(const std::string& build_id, const std::string& symbol = "nvrtcCompileProgram",
                    const std::string& text = "") {
  ByteWriter symbols;
  symbols.text(std::string(24, '\0'));
  symbols.put<std::uint32_t>(1).put<std::uint8_t>(0x12).put<std::uint8_t>(0).put<std::uint16_t>(1);
  symbols.put<std::uint64_t>(0).put<std::uint64_t>(0);
  ElfText elf{.machine = kHostMachine, .sections = {}};
  elf.sections.push_back({.name = ".dynsym", .type = 11, .bytes = symbols.bytes(), .link = 2, .entry_size = 24});
  elf.sections.push_back({.name = ".dynstr", .type = 3, .bytes = std::string(1, '\0') + symbol + '\0'});
  elf.sections.push_back({.name = ".rodata", .bytes = text});
  if (!build_id.empty()) elf.sections.push_back({.name = ".note.gnu.build-id", .type = 7, .bytes = note(build_id)});
  return make_elf(elf);
}

/// None of the variables that the search reads.
struct NoHints {
  librt::test::ScopedEnv home{"CUDA_HOME", nullptr};
  librt::test::ScopedEnv path{"CUDA_PATH", nullptr};
  librt::test::ScopedEnv environment{"VIRTUAL_ENV", nullptr};
  librt::test::ScopedEnv conda{"CONDA_PREFIX", nullptr};
  librt::test::ScopedEnv programs{"PATH", "/nonexistent"};
  librt::test::ScopedEnv libraries{"LD_LIBRARY_PATH", nullptr};
};

bool maps_libnvrtc() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("libnvrtc") != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("NVRTC is identified by the build ids in its files", "[jit]") {
  const FileTree directory;
  const std::string path = directory.write("libnvrtc.so.13", library("\x01\xab"));
  SECTION("with its builtins beside it") {
    directory.write("libnvrtc-builtins.so.13.2", library("\xff\x02"));
    const NvrtcIdentity identity = identify_nvrtc(path);
    CHECK(identity.path == path);
    CHECK(identity.version == "13.2");
    CHECK(identity.build_id == "01ab");
    CHECK(identity.builtins_path == directory.file("libnvrtc-builtins.so.13.2"));
    CHECK(identity.builtins_build_id == "ff02");
  }
  SECTION("without builtins") {
    const NvrtcIdentity identity = identify_nvrtc(path);
    CHECK(identity.version.empty());
    CHECK(identity.builtins_path.empty());
    CHECK(identity.builtins_build_id.empty());
  }
  SECTION("its text settles which of several builtins are its own") {
    directory.write("libnvrtc.so.13", library("\x01", "nvrtcCompileProgram", "open libnvrtc-builtins.so.13.1.\n"));
    directory.write("libnvrtc-builtins.so.13.0", library("\x10"));
    directory.write("libnvrtc-builtins.so.13.1", library("\x11"));
    const NvrtcIdentity identity = identify_nvrtc(path);
    CHECK(identity.version == "13.1");
    CHECK(identity.builtins_build_id == "11");
  }
  SECTION("a full version in the file's own name counts first") {
    std::filesystem::rename(path, directory.file("libnvrtc.so.12.4.127"));
    std::filesystem::create_symlink("libnvrtc.so.12.4.127", directory.file("libnvrtc.so.12"));
    directory.write("libnvrtc-builtins.so.12.4", library("\x24"));
    directory.write("libnvrtc-builtins.so.12.6", library("\x26"));
    const NvrtcIdentity identity = identify_nvrtc(directory.file("libnvrtc.so.12"));
    CHECK(identity.path == directory.file("libnvrtc.so.12.4.127"));
    CHECK(identity.version == "12.4");
    CHECK(identity.builtins_build_id == "24");
  }
  SECTION("without a build id the file's bytes stand for it") {
    const std::string bytes = library("");
    directory.write("libnvrtc.so.13", bytes);
    CHECK(identify_nvrtc(path).build_id == "blake2b:" + util::to_hex(util::hash(std::string_view(bytes))));
  }
}

TEST_CASE("The search keeps its order", "[jit]") {
  const NoHints none;
  const FileTree home;
  const FileTree toolkit;
  const FileTree loader;
  home.write("lib64/libnvrtc.so.12", library("\x01"));
  toolkit.write("lib/libnvrtc.so.13", library("\x02"));
  toolkit.write("bin/nvcc", "");
  loader.write("libnvrtc.so.13", library("\x03"));
  const librt::test::ScopedEnv libraries("LD_LIBRARY_PATH", (":relative:" + loader.path()).c_str());
  CHECK(identify_nvrtc("").build_id == "03");
  const librt::test::ScopedEnv programs("PATH", ("/nonexistent:" + toolkit.file("bin")).c_str());
  CHECK(identify_nvrtc("").build_id == "02");
  const librt::test::ScopedEnv cuda_path("CUDA_PATH", toolkit.path().c_str());
  CHECK(identify_nvrtc("").build_id == "02");
  const librt::test::ScopedEnv cuda_home("CUDA_HOME", home.path().c_str());
  CHECK(identify_nvrtc("").build_id == "01");
  home.write("lib64/libnvrtc.so.13", library("\x04"));
  CHECK(identify_nvrtc("").build_id == "04");
  CHECK(identify_nvrtc(loader.file("libnvrtc.so.13")).build_id == "03");
}

TEST_CASE("NVRTC is found in the active virtual environment", "[jit]") {
  const NoHints none;
  const FileTree loader;
  loader.write("libnvrtc.so.13", library("\x01"));
  const librt::test::ScopedEnv libraries("LD_LIBRARY_PATH", loader.path().c_str());
  const FileTree environment;
  const std::string packages = "lib/python3.11/site-packages/nvidia/";
  const char* const variable = GENERATE("VIRTUAL_ENV", "CONDA_PREFIX");
  const librt::test::ScopedEnv active(variable, environment.path().c_str());
  CHECK(identify_nvrtc("").build_id == "01");
  environment.write("lib/libnvrtc.so.12", library("\x02"));
  CHECK(identify_nvrtc("").build_id == "02");
  environment.write(packages + "cuda_nvrtc/lib/libnvrtc.so.12", library("\x03"));
  CHECK(identify_nvrtc("").build_id == "03");
  environment.write(packages + "cu13/lib/libnvrtc.so.13", library("\x04"));
  CHECK(identify_nvrtc("").build_id == "04");
  CHECK(identify_nvrtc("").origin == variable);
  const FileTree home;
  home.write("lib64/libnvrtc.so.12", library("\x05"));
  const librt::test::ScopedEnv cuda_home("CUDA_HOME", home.path().c_str());
  CHECK(identify_nvrtc("").build_id == "05");
}

TEST_CASE("A directory of PATH that is not absolute chooses no compiler", "[jit]") {
  const NoHints none;
  const FileTree toolkit;
  toolkit.write("lib64/libnvrtc.so.13", library("\x02"));
  toolkit.write("bin/nvcc", "");
  const std::string relative = std::filesystem::relative(toolkit.file("bin"));
  const librt::test::ScopedEnv programs("PATH", (":" + relative).c_str());
  for (const SearchPlace& place : nvrtc_search_places())
    CHECK_FALSE(place.directory.string().starts_with(toolkit.path()));
}

TEST_CASE("The run path of the program comes before the loader's own places", "[jit]") {
  const NoHints none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  const std::vector<SearchPlace> places = nvrtc_search_places();
  const auto at = [&](const std::filesystem::path& directory) {
    return std::find_if(places.begin(), places.end(), [&](const SearchPlace& p) { return p.directory == directory; });
  };
  const auto found = at(program.parent_path() / "run_path");  // the build gives it as $ORIGIN/run_path
  REQUIRE(found != places.end());
  CHECK(found->origin == "the run path of " + program.filename().string());
  CHECK(found < at("/usr/lib"));
}

TEST_CASE("The search passes over files that are no NVRTC", "[jit]") {
  const NoHints none;
  const FileTree home;
  const FileTree loader;
  home.write("lib64/libnvrtc.so.13", "INPUT(libnvrtc.so.13.0)\n");
  loader.write("libnvrtc.so.13", library("\x03"));
  const librt::test::ScopedEnv cuda_home("CUDA_HOME", home.path().c_str());
  const librt::test::ScopedEnv libraries("LD_LIBRARY_PATH", loader.path().c_str());
  CHECK(identify_nvrtc("").build_id == "03");
}

TEST_CASE("What keeps an NVRTC that is here from being read is said, once, and not that there is none", "[jit]") {
  const NoHints none;
  const FileTree home;
  const FileTree other;
  const std::string path = home.write("lib64/libnvrtc.so.13", library("\x01"));
  std::filesystem::create_symlink(path, other.path() + "/libnvrtc.so.13");
  const librt::test::ScopedEnv cuda_home("CUDA_HOME", home.path().c_str());
  const librt::test::ScopedEnv libraries("LD_LIBRARY_PATH", other.path().c_str());
  CHECK(librt::test::in_child([&] {
          const rlimit no_files{0, 0};
          ::setrlimit(RLIMIT_NOFILE, &no_files);
          const std::string what = error_of([] { identify_nvrtc(""); }).what();
          const std::string reason = std::filesystem::canonical(path).string() + ": Too many open files";
          const std::size_t at = what.find(reason);
          if (!what.starts_with("no libnvrtc that is here can be used: ") || at == what.npos) return what;
          return what.find(reason, at + 1) == what.npos ? "" : "twice: " + what;
        }) == "");
}

TEST_CASE("A requested NVRTC that cannot be used is an error with its reason", "[jit]") {
  const FileTree directory;
  std::string wrong_machine = library("\x01");
  wrong_machine[18] = '\x03';
  const auto [name, bytes, reason] = GENERATE_REF(table<std::string, std::string, std::string>(
      {{"text", "hello", "header"},
       {"empty", "", "empty"},
       {"machine", wrong_machine, "not a shared library of this processor"},
       {"cut", library("\x01").substr(0, 100), "section header table"},
       {"other", library("\x01", "cuInit"), "nvrtcCompileProgram"}}));
  const std::string path = directory.write(name, bytes);
  const Error error = error_of([&, &path = path] { identify_nvrtc(path); });
  CHECK(error.code() == ErrorCode::no_nvrtc);
  CHECK_THAT(error.what(), Catch::Contains(path) && Catch::Contains(reason));
  CHECK_THAT(error.detail(), Catch::Contains("LIBRT_NVRTC"));
}

TEST_CASE("A requested path that is absent or a directory is an error", "[jit]") {
  const FileTree directory;
  const std::string path = directory.path() + GENERATE("", "/absent.so");
  const Error error = error_of([&] { identify_nvrtc(path); });
  CHECK(error.code() == ErrorCode::no_nvrtc);
  CHECK_THAT(error.what(), Catch::Contains('"' + path + '"'));
}

TEST_CASE("The NVRTC of this machine has builtins and build ids", "[jit][nvrtc]") {
  const NvrtcIdentity identity = identify_nvrtc("");
  CHECK_THAT(identity.version, Catch::Matches("1[23]\\.[0-9]+"));
  CHECK(identity.build_id.size() >= 16);
  CHECK_THAT(identity.builtins_path, Catch::Contains("libnvrtc-builtins.so." + identity.version));
  CHECK_FALSE(identity.builtins_build_id.empty());
  CHECK(identify_nvrtc(identity.path).build_id == identity.build_id);
}

// Hidden: the one below runs it in a process in which nothing was compiled before.
TEST_CASE("identity alone", "[.][jit][nvrtc]") {
  REQUIRE_FALSE(maps_libnvrtc());
  const NvrtcIdentity identity = identify_nvrtc("");
  CHECK_FALSE(maps_libnvrtc());
  const Nvrtc loaded(identity);
  CHECK(maps_libnvrtc());
}

TEST_CASE("Identifying NVRTC does not load it", "[jit][nvrtc]") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::execl("/proc/self/exe", "unit_tests", "identity alone", nullptr);
    ::_exit(127);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
