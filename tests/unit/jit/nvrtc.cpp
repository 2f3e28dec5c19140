#include "src/jit/nvrtc.hpp"

#include <algorithm>
#include <set>
#include <thread>

#include "src/jit/binary_info.hpp"
#include "tests/unit/jit/jit_support.hpp"

using namespace librt;
using namespace librt::jit;
using namespace librt::jit::test;

namespace {

const Nvrtc& nvrtc() {
  static const Nvrtc loaded(identify_nvrtc(""));
  return loaded;
}

struct ScaleSources {
  ScaleSources() { write_scale_kernel(tree); }
  KernelSources load(const std::vector<SourceEdit>& edits = {}) const { return load_tree(tree.path(), edits); }
  FileTree tree;
};

NvrtcIdentity stand_in(const std::string& version) {
  return identify_nvrtc(LIBRT_FAKE_NVRTC_DIR "/" + version + "/libnvrtc.so." + version);
}

Compiled compile(const KernelSources& sources, const char* arch, int threads = 64, int factor = 3) {
  return nvrtc().compile(make_program(scale_specialization(threads, factor), parse_arch(arch)), sources);
}

}  // namespace

TEST_CASE("One compile for sm_90a gives a cubin and the PTX behind it", "[jit][nvrtc]") {
  const Compiled compiled = compile(ScaleSources().load(), "sm_90a");
  const CubinInfo cubin = read_cubin(compiled.cubin);
  CHECK(cubin.sm == 90);
  CHECK(cubin.target == "sm_90a");
  REQUIRE(cubin.kernels.size() == 1);
  CHECK(cubin.kernels[0].name == "librt_scale");
  const PtxInfo ptx = read_ptx(compiled.ptx);
  CHECK(ptx.target == "sm_90a");
  CHECK(ptx.entries == std::vector<std::string>{"librt_scale"});
  CHECK(compiled.ptx.find('\0') == std::string::npos);
  CHECK(compiled.compile_ms > 0);
  CHECK_THAT(compiled.log, Catch::Contains("registers") && Catch::Contains("spill"));
}

TEST_CASE("compute_80 gives PTX alone, and the same as sm_80 gives", "[jit][nvrtc]") {
  const KernelSources sources = ScaleSources().load();
  const Compiled ptx_only = compile(sources, "compute_80");
  CHECK(ptx_only.cubin.empty());
  CHECK(read_ptx(ptx_only.ptx).target == "sm_80");
  CHECK(ptx_only.ptx == compile(sources, "sm_80").ptx);
}

TEST_CASE("The same program gives the same bytes, from any thread", "[jit][nvrtc]") {
  const KernelSources sources = ScaleSources().load();
  const Compiled expected = compile(sources, "sm_90a", 64, 3);
  const Compiled other = compile(sources, "sm_90a", 64, 5);
  CHECK(expected.ptx != other.ptx);
  Compiled first[2];
  Compiled second[2];
  std::thread thread([&] {
    first[0] = compile(sources, "sm_90a", 64, 3);
    first[1] = compile(sources, "sm_90a", 64, 5);
  });
  second[0] = compile(sources, "sm_90a", 64, 5);
  second[1] = compile(sources, "sm_90a", 64, 3);
  thread.join();
  CHECK(first[0].cubin == expected.cubin);
  CHECK(second[1].cubin == expected.cubin);
  CHECK(first[1].cubin == other.cubin);
  CHECK(second[0].cubin == other.cubin);
}

TEST_CASE("An edit of a source reaches the compiled code", "[jit][nvrtc]") {
  const ScaleSources scale;
  const std::string edited =
      compile(scale.load({{.file = "device/scale.cuh", .find = "value * factor", .replace = "value + factor"}}),
              "compute_80")
          .ptx;
  const std::string plain = compile(scale.load(), "compute_80").ptx;
  CHECK_THAT(plain, Catch::Contains("mul.f32") || Catch::Contains("mul.rn.f32"));
  CHECK_THAT(edited, Catch::Contains("add.f32") || Catch::Contains("add.rn.f32"));
  CHECK(plain != edited);
}

TEST_CASE("An architecture that is not in NVRTC's list is unsupported", "[jit][nvrtc]") {
  CHECK(std::is_sorted(nvrtc().supported_archs().begin(), nvrtc().supported_archs().end()));
  CHECK(std::binary_search(nvrtc().supported_archs().begin(), nvrtc().supported_archs().end(), 90));
  const char* arch = GENERATE("sm_70", "compute_70", "sm_999a");
  const Error error = error_of([&] { compile(ScaleSources().load(), arch); });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK_THAT(error.what(), Catch::Contains(arch) && Catch::Contains("80, ") && Catch::Contains("90, "));
}

TEST_CASE("An architecture without that suffix is unsupported", "[jit][nvrtc]") {
  const char* arch = GENERATE("sm_90f", "sm_80a", "compute_90f");
  const Error error = error_of([&] { compile(ScaleSources().load(), arch); });
  CHECK(error.code() == ErrorCode::unsupported);
  CHECK_THAT(error.what(), Catch::Contains(arch) && Catch::Contains("variant"));
}

TEST_CASE("A program that NVRTC refuses is reported with log, stub and options", "[jit][nvrtc]") {
  const Error error = error_of([] { compile(ScaleSources().load(), "sm_80", 64, 0); });
  CHECK(error.code() == ErrorCode::compile_failed);
  CHECK_THAT(error.what(), Catch::Contains("librt_scale") && Catch::Contains("sm_80") &&
                               Catch::Contains("a factor of zero is not a scale"));
  CHECK_THAT(error.detail(), Catch::Contains("scale.cuh(") &&
                                 Catch::Contains("   1 | #include \"scale/scale.cuh\"\n") &&
                                 Catch::Contains("   2 | using Traits = librt::device::ScaleTraits<64, 0>;") &&
                                 Catch::Contains("options: -arch=sm_80 --std=c++17"));
}

TEST_CASE("What the assembler refuses is reported likewise", "[jit][nvrtc]") {
  const KernelSources sources =
      ScaleSources().load({{.file = "device/scale.cuh",
                            .find = "return value",
                            .replace = "asm volatile(\"no_such_instruction;\"); return value"}});
  const Error error = error_of([&] { compile(sources, "sm_80"); });
  CHECK(error.code() == ErrorCode::compile_failed);
  CHECK_THAT(error.detail(), Catch::Contains("no_such_instruction") && Catch::Contains("options:"));
}

TEST_CASE("A file on disk is never included", "[jit][nvrtc]") {
  const ScaleSources scale;
  const FileTree elsewhere;
  const std::string path = elsewhere.write("found.cuh", "#define FOUND 1\n");
  const std::string include = "#pragma once\n#include \"" + path + "\"\n";
  const SourceEdit edit{.file = "device/scale.cuh", .find = "#pragma once\n", .replace = include};
  const Error error = error_of([&] { compile(scale.load({edit}), "compute_80"); });
  CHECK(error.code() == ErrorCode::compile_failed);
  CHECK_THAT(error.detail(), Catch::Contains(path) && Catch::Contains("not among the kernel sources"));
}

TEST_CASE("An include that is not reached does not matter", "[jit][nvrtc]") {
  const SourceEdit edit{.file = "device/scale.cuh",
                        .find = "#pragma once\n",
                        .replace = "#pragma once\n#ifndef __CUDACC__\n#include <cstdint>\n#endif\n"};
  CHECK_FALSE(compile(ScaleSources().load({edit}), "compute_80").ptx.empty());
}

TEST_CASE("A stub without its header is refused before the compiler runs", "[jit][nvrtc]") {
  Specialization absent = scale_specialization(32, 2);
  absent.kernel = "absent";
  const Error error =
      error_of([&] { nvrtc().compile(make_program(absent, parse_arch("sm_80")), ScaleSources().load()); });
  CHECK(error.code() == ErrorCode::invalid_argument);
  CHECK_THAT(error.what(), Catch::Contains("absent.cuh"));
}

TEST_CASE("Options that change later compiles are refused", "[jit][nvrtc]") {
  Program program = make_program(scale_specialization(32, 2), parse_arch("sm_80"));
  const auto refused = [&](const std::string& option) {
    Program with_option = program;
    with_option.options.emplace_back(option);
    const Error error = error_of([&] { nvrtc().compile(with_option, ScaleSources().load()); });
    CHECK(error.code() == ErrorCode::invalid_argument);
    CHECK_THAT(error.what(), Catch::Contains("\"" + option + "\""));
    return std::string(error.what());
  };
  for (const char* option :
       {"-G", "--G", "--device-debug", "-device-debug", "--device-debug=true", "-Ofc=max", "-Ofc=mid", "-Ofc",
        "--Ofc=max", "--Ofast-compile=max", "-Ofast-compile=max", "--Ofast-compile"}) {
    CHECK_THAT(refused(option), Catch::Contains("every later compile in this process"));
  }
  for (const char* option : {"-I.", "-DX", "max", "", "-", "-g", "--use_fast_math", "-Xptxas=-O0", "-include=x.h"}) {
    CHECK_THAT(refused(option), Catch::Contains("not among those allowed"));
  }
}

TEST_CASE("What is compiled after a refused option is what is compiled without", "[jit][nvrtc]") {
  const Compiled before = compile(ScaleSources().load(), "sm_80");
  Program program = make_program(scale_specialization(32, 2), parse_arch("sm_80"));
  program.options.emplace_back("-G");
  CHECK_THROWS_AS(nvrtc().compile(program, ScaleSources().load()), Error);
  CHECK(compile(ScaleSources().load(), "sm_80").cubin == before.cubin);
}

TEST_CASE("NVRTC's own cache is off in every version that has one", "[jit][nvrtc]") {
  struct Version {
    const char* name;
    bool has_cache;
    bool has_minimal;
  };
  // They give back the options as their log.
  for (const Version& version :
       {Version{"12.8", false, false}, Version{"12.9", true, false}, Version{"13.0", true, true}}) {
    INFO(version.name);
    const NvrtcIdentity identity = stand_in(version.name);
    CHECK(identity.version == version.name);
    const Nvrtc recording(identity);
    for (const char* arch : {"sm_80", "sm_90a", "compute_80"}) {
      Program program = make_program(scale_specialization(32, 2), parse_arch(arch));
      if (arch == std::string_view("sm_80")) std::erase(program.options, "-no-cache");  // not even asked for
      const std::string options = recording.compile(program, ScaleSources().load()).log;
      CHECK_THAT(options, Catch::Contains(std::string("-arch=") + arch + "\n--std=c++17\n"));
      CHECK((options.find("-no-cache\n") != std::string::npos) == version.has_cache);
      CHECK((options.find("-minimal\n") != std::string::npos) == version.has_minimal);
    }
  }
}

TEST_CASE("NVRTC finds the builtins beside it, which the loader would not", "[jit][nvrtc]") {
  const NvrtcIdentity identity = stand_in("13.99");
  REQUIRE_THAT(identity.builtins_path, Catch::EndsWith("/13.99/libnvrtc-builtins.so.13.99"));
  const Nvrtc recording(identity);
  const Program program = make_program(scale_specialization(32, 2), parse_arch("sm_90"));
  CHECK_THAT(recording.compile(program, ScaleSources().load()).log, Catch::EndsWith("\nbuiltins loaded\n"));
}

TEST_CASE("Builtins that cannot be loaded are named with the loader's reason", "[jit][nvrtc]") {
  const FileTree tree;
  NvrtcIdentity identity = stand_in("13.99");
  identity.builtins_path = tree.write("libnvrtc-builtins.so.13.99", "not a library");
  const Error error = error_of([&] { Nvrtc broken(identity); });
  CHECK(error.code() == ErrorCode::no_nvrtc);
  CHECK_THAT(error.what(), Catch::Contains(identity.path) && Catch::Contains(identity.builtins_path));
}

TEST_CASE("A library that cannot be loaded is named with the loader's reason", "[jit][nvrtc]") {
  const FileTree tree;
  const std::string path = tree.write("libnvrtc.so.13", "not a library");
  const Error error = error_of([&] { Nvrtc broken({.path = path, .version = "13.0"}); });
  CHECK(error.code() == ErrorCode::no_nvrtc);
  CHECK_THAT(error.what(), Catch::Contains(path));
}

TEST_CASE("A library that is another than the one identified is refused", "[jit][nvrtc]") {
  NvrtcIdentity stale = identify_nvrtc("");
  SECTION("version") {
    stale.version = "13.99";
  }
  SECTION("build") {
    stale.build_id = "00";
  }
  SECTION("builtins") {
    stale.builtins_build_id = "00";
  }
  const Error error = error_of([&] { Nvrtc other(stale); });
  CHECK(error.code() == ErrorCode::no_nvrtc);
  CHECK_THAT(error.what(), Catch::Contains(stale.path));
}
