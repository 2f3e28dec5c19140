#include "src/jit/program.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

#include "tests/unit/jit/jit_support.hpp"

using namespace librt;
using namespace librt::jit;
using namespace librt::jit::test;

namespace {

const NvrtcIdentity kCompiler{.path = "/a/libnvrtc.so.13",
                              .version = "13.0",
                              .build_id = "ab12",
                              .builtins_path = "/a/b",
                              .builtins_build_id = "cd"};

std::string key_of(const Program& program, const KernelSources& sources, const NvrtcIdentity& compiler) {
  return util::to_hex(util::key_digest(key_fields(program, sources, &compiler)));
}

}  // namespace

TEST_CASE("The stub instantiates one template under a fixed name", "[jit]") {
  const Program program = make_program({.kernel = "gqa_decode",
                                        .traits = "GqaDecodeTraits",
                                        .arguments = "librt::device::Bf16, 128, 16, 64, 2",
                                        .spec_json = R"({"b": 1, "a": 2})"},
                                       parse_arch("sm_90a"));
  CHECK(program.source == R"(#include "gqa_decode/gqa_decode.cuh"
using Traits = librt::device::GqaDecodeTraits<librt::device::Bf16, 128, 16, 64, 2>;
extern "C" __global__ void __launch_bounds__(Traits::kThreads, Traits::kMinBlocks)
librt_gqa_decode(const __grid_constant__ Traits::Params params) {
  librt::device::gqa_decode<Traits>(params);
}
)");
  CHECK(program.entry == "librt_gqa_decode");
  CHECK(program.header == "gqa_decode/gqa_decode.cuh");
  CHECK(program.spec_json == R"({"a":2,"b":1})");
  CHECK(std::count(program.source.begin(), program.source.end(), '\n') <= 10);
}

TEST_CASE("The options are fixed but for the architecture", "[jit]") {
  const auto options = [](const char* arch) {
    return make_program(scale_specialization(32, 2), parse_arch(arch)).options;
  };
  CHECK(options("sm_90a") == std::vector<std::string>{"-arch=sm_90a", "--std=c++17", "-minimal", "-default-device",
                                                      "-no-cache", "-Xptxas=-v"});
  CHECK(options("compute_80") ==
        std::vector<std::string>{"-arch=compute_80", "--std=c++17", "-minimal", "-default-device", "-no-cache"});
  for (const std::string& option : options("sm_120")) CHECK_NOTHROW(nvrtc_options({option}, 13, 0));
  for (const char* option : {"-G", "--device-debug", "-Ofc=max", "-I.", "-include=x", "-DX", "--pch", ""}) {
    CHECK_THROWS_AS(nvrtc_options({option}, 13, 0), Error);
  }
}

TEST_CASE("A specialization that is not one piece of C++ is refused", "[jit]") {
  Specialization bad = scale_specialization(32, 2);
  SECTION("kernel") {
    bad.kernel = "a\"b";
  }
  SECTION("empty kernel") {
    bad.kernel = "";
  }
  SECTION("traits") {
    bad.traits = "1x";
  }
  SECTION("arguments") {
    bad.arguments = "1>; int x; using Y = Z<2";
  }
  SECTION("spec") {
    bad.spec_json = "{";
  }
  CHECK(error_of([&] { make_program(bad, Arch{}); }).code() == ErrorCode::internal);
}

TEST_CASE("The key's fields are JSON, in their order", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  const KernelSources sources = load_tree(directory.path());
  const Program program = make_program(scale_specialization(64, 3), parse_arch("sm_100a"));
  const auto fields = key_fields(program, sources, &kCompiler);
  std::vector<std::string> names;
  std::map<std::string, nlohmann::json> values;
  for (const util::KeyField& field : fields) {
    names.push_back(field.name);
    values[field.name] = nlohmann::json::parse(field.value);
    CHECK(values[field.name].dump() == field.value);
  }
  CHECK(names ==
        std::vector<std::string>{"schema", "target", "source", "headers", "options", "names", "compiler", "spec"});
  CHECK(values["schema"] == 1);
  CHECK(values["target"] == "sm_100a");
  CHECK(values["source"].get<std::string>().size() == 64);
  CHECK(values["headers"].size() == 2);
  CHECK(values["options"] ==
        nlohmann::json({"-arch=sm_100a", "--std=c++17", "-minimal", "-default-device", "-Xptxas=-v"}));
  CHECK(values["names"] == nlohmann::json({"librt_scale"}));
  CHECK(values["compiler"] ==
        nlohmann::json({{"name", "nvrtc"}, {"version", "13.0"}, {"build_id", "ab12"}, {"builtins_build_id", "cd"}}));
  CHECK(values["spec"] == nlohmann::json({{"threads", 64}, {"factor", 3}}));
}

TEST_CASE("The key changes with all that decides the code, and with nothing else", "[jit]") {
  const FileTree directory;
  write_scale_kernel(directory);
  KernelSources sources = load_tree(directory.path());
  Program program = make_program(scale_specialization(64, 3), parse_arch("sm_90a"));
  NvrtcIdentity compiler = kCompiler;
  const std::string before = key_of(program, sources, compiler);
  bool same = false;
  SECTION("threads") {
    program = make_program(scale_specialization(128, 3), program.arch);
  }
  SECTION("arch suffix") {
    program = make_program(scale_specialization(64, 3), parse_arch("sm_90"));
  }
  SECTION("PTX alone") {
    program = make_program(scale_specialization(64, 3), parse_arch("compute_90a"));
  }
  SECTION("an option") {
    program.options.emplace_back("-lineinfo");
  }
  SECTION("entry") {
    program.entry = "other";
  }
  SECTION("spec") {
    program.spec_json = "{}";
  }
  SECTION("compiler version") {
    compiler.version = "13.1";
  }
  SECTION("compiler build") {
    compiler.build_id = "ab13";
  }
  SECTION("builtins build") {
    compiler.builtins_build_id = "";
  }
  SECTION("a header's text") {
    sources = load_tree(directory.path(), {{.file = "device/scale.cuh", .find = "*", .replace = "+"}});
  }
  SECTION("nothing: compiler path") {
    compiler.path = "/other/libnvrtc.so.13";
    compiler.builtins_path = "/other/x";
    same = true;
  }
  SECTION("nothing: the compiler's own cache") {
    std::erase(program.options, "-no-cache");
    same = true;
  }
  SECTION("nothing: directory of the kernels") {
    const FileTree other;
    write_scale_kernel(other);
    sources = load_tree(other.path());
    same = true;
  }
  CHECK((key_of(program, sources, compiler) == before) == same);
}
