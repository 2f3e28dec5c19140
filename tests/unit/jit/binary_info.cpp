#include "src/jit/binary_info.hpp"

#include <cstring>
#include <span>

#include "src/jit/nvrtc.hpp"
#include "tests/unit/jit/jit_support.hpp"

using namespace librt;
using namespace librt::jit;
using namespace librt::jit::test;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// A kernel whose cost in every resource is known or bounded.
Compiled compile_resources(const char* arch) {
  const FileTree tree;
  tree.write("hold/hold.cuh", R"(#pragma once
namespace librt::device {
struct HoldParams { float* data; int at; };
template <int Threads> struct HoldTraits {
  enum { kThreads = Threads, kMinBlocks = 1 };
  using Params = HoldParams;
};
template <typename Traits> __device__ void hold(const HoldParams& params) {
  __shared__ float staged[100];
  float local[32];
  for (int i = 0; i < 32; ++i) local[i] = params.data[i];
  for (int i = 0; i < params.at; ++i) local[(i * params.at) & 31] += local[i & 31];  // indexed: not in registers
  staged[threadIdx.x % 100] = local[params.at & 31];
  __syncthreads();
  params.data[threadIdx.x] = staged[params.at % 100];
}
})");
  const Nvrtc nvrtc(identify_nvrtc(""));
  return nvrtc.compile(
      make_program({.kernel = "hold", .traits = "HoldTraits", .arguments = "96", .spec_json = "{}"}, parse_arch(arch)),
      load_tree(tree.path()));
}

struct CubinText {
  std::uint32_t flags = 0x06005a04;  // SM 90
  std::string target = "-arch sm_90a";
  std::string kernel_info{};
  std::string common_info{};
  std::uint64_t shared_bytes = 0;
};

std::string attribute(std::uint8_t code, const std::vector<std::uint32_t>& values) {
  ByteWriter writer;
  writer.put<std::uint8_t>(4).put(code).put(static_cast<std::uint16_t>(values.size() * 4));
  for (const std::uint32_t value : values) writer.put(value);
  return writer.bytes();
}

/// A cubin with one kernel, k, which is symbol 1.
std::string make_cubin(const CubinText& cubin) {
  ByteWriter symbols;
  symbols.text(std::string(24, '\0'));
  symbols.put<std::uint32_t>(1).put<std::uint8_t>(0x12).put<std::uint8_t>(0x10).put<std::uint16_t>(3);
  symbols.put<std::uint64_t>(0).put<std::uint64_t>(0);
  return make_elf(
      {.type = 2,
       .machine = 190,
       .abi_version = 8,
       .flags = cubin.flags,
       .sections = {{.name = ".symtab", .type = 2, .bytes = symbols.bytes(), .link = 2, .entry_size = 24},
                    {.name = ".strtab", .type = 3, .bytes = std::string("\0k\0", 3)},
                    {.name = ".text.k", .bytes = std::string(128, '\0')},
                    {.name = ".nv.info.k", .type = 0x70000000, .bytes = cubin.kernel_info},
                    {.name = ".nv.info", .type = 0x70000000, .bytes = cubin.common_info},
                    {.name = ".nv.shared.k", .bytes = std::string(cubin.shared_bytes, '\0')},
                    {.name = ".note.nv.tkinfo", .type = 7, .bytes = std::string("x\0\1", 3) + cubin.target}}});
}

}  // namespace

TEST_CASE("Resources in a cubin are those that ptxas reports", "[jit][nvrtc]") {
  const char* arch = GENERATE("sm_80", "sm_90", "sm_90a", "sm_100a", "sm_120");
  const Compiled compiled = compile_resources(arch);
  const CubinInfo info = read_cubin(compiled.cubin);
  CHECK(info.target == arch);
  CHECK(info.sm == parse_arch(arch).sm);
  REQUIRE(info.kernels.size() == 1);
  const KernelResources& resources = info.kernels[0].resources;
  CHECK(info.kernels[0].name == "librt_hold");
  CHECK_THAT(compiled.log, Catch::Contains("Used " + std::to_string(resources.registers) + " registers"));
  CHECK_THAT(compiled.log, Catch::Contains(std::to_string(resources.stack_bytes) + " bytes stack frame"));
  CHECK(resources.stack_bytes >= 128);
  CHECK(resources.static_shared_bytes == 400);
  CHECK(resources.max_threads == 96);
  CHECK(resources.code_bytes > 0);
  CHECK(resources.code_bytes % 128 == 0);
  CHECK_THAT(resources.toolchain, Catch::StartsWith("Cuda compilation tools, release "));
}

TEST_CASE("A cubin cut anywhere is read or refused, never misread beyond its end", "[jit][nvrtc]") {
  const std::vector<std::byte> cubin = compile_resources("sm_90a").cubin;
  // A copy of exactly that length each time, so that a sanitizer sees any step beyond it.
  std::size_t refused = 0;
  for (std::size_t size = 0; size < cubin.size(); ++size) {
    const std::vector<std::byte> cut(cubin.begin(), cubin.begin() + static_cast<std::ptrdiff_t>(size));
    try {
      read_cubin(cut);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::corrupt) ++refused;
    }
  }
  CHECK(refused == cubin.size());
}

TEST_CASE("A hand-made cubin is read as it is written", "[jit]") {
  const CubinInfo info = read_cubin(bytes_of(
      make_cubin({.kernel_info = attribute(0x05, {16, 4, 2}) + attribute(0x77, {1}) + std::string("\3\x19\x40\0", 4),
                  .common_info = attribute(0x2f, {1, 42}) + attribute(0x11, {1, 24}) + attribute(0x2f, {0, 7}) +
                                 attribute(0x11, {9, 8}),
                  .shared_bytes = 1536})));
  CHECK(info.sm == 90);
  CHECK(info.target == "sm_90a");
  REQUIRE(info.kernels.size() == 1);
  const KernelResources& resources = info.kernels[0].resources;
  CHECK(resources.registers == 42);
  CHECK(resources.stack_bytes == 24);
  CHECK(resources.max_threads == 128);
  CHECK(resources.static_shared_bytes == 512);
  CHECK(resources.code_bytes == 128);
}

TEST_CASE("Without the assembler's note the target is that of the header", "[jit]") {
  CHECK(read_cubin(bytes_of(make_cubin({.flags = 0x06005004, .target = ""}))).target == "sm_80");
}

TEST_CASE("Only what the system reserves is taken from shared memory, and only where it does", "[jit]") {
  const auto shared = [](std::uint32_t flags, std::uint64_t bytes) {
    const CubinText text{.flags = flags, .target = "", .shared_bytes = bytes};
    return read_cubin(bytes_of(make_cubin(text))).kernels.at(0).resources.static_shared_bytes;
  };
  CHECK(shared(0x06005004, 1536) == 1536);
  CHECK(shared(0x06005a04, 1536) == 512);
  CHECK(shared(0x06005a04, 100) == 0);
}

TEST_CASE("A damaged cubin is refused with its reason", "[jit]") {
  std::string bytes = make_cubin({});
  std::string reason;
  SECTION("no bytes") {
    bytes = "";
    reason = "header at offset 0";
  }
  SECTION("magic") {
    bytes[1] = 'F';
    reason = "magic";
  }
  SECTION("class") {
    bytes[4] = 1;
    reason = "class 1";
  }
  SECTION("machine") {
    bytes[18] = 62;
    reason = "machine 62 at offset 18";
  }
  SECTION("section table") {
    bytes[47] = '\x7f';
    reason = "section header table at offset";
  }
  SECTION("section header size") {
    bytes[58] = 40;
    reason = "section headers of 40 bytes";
  }
  SECTION("section name table") {
    bytes[62] = 99;
    reason = "section name table 99";
  }
  SECTION("another target in the note") {
    bytes = make_cubin({.target = "-arch sm_80"});
    reason = "the assembler's note sm_80";
  }
  SECTION("attribute that runs on") {
    bytes = make_cubin({.kernel_info = std::string("\4\5\xff\xff", 4)});
    reason = ".nv.info.k has 65535 bytes, 0 are left";
  }
  SECTION("attribute cut short") {
    bytes = make_cubin({.kernel_info = std::string("\4\5\0", 3)});
    reason = ".nv.info.k at offset 2";
  }
  SECTION("launch bounds that overflow") {
    bytes = make_cubin({.kernel_info = attribute(0x05, {0xffffffff, 0xffffffff, 0xffffffff})});
    reason = "launch bounds";
  }
  SECTION("register count without its value") {
    bytes = make_cubin({.common_info = attribute(0x2f, {1})});
    reason = "value of an attribute";
  }
  const Error error = error_of([&] { read_cubin(bytes_of(bytes)); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK_THAT(error.what(), Catch::Contains(reason));
}

TEST_CASE("The head and the entries of a PTX text are read", "[jit]") {
  const PtxInfo info = read_ptx(R"(// .version 1.0 in a comment
/* .target sm_10 */
.version 9.0
.target sm_90a, debug
.address_size 64
.visible .entry first(.param .u64 a)
{ .loc 1 2; ret; } // .entry none
.file 1 ".entry quoted"
.weak .entry
  second$1 ( ) { ret; })");
  CHECK(info.version == "9.0");
  CHECK(info.target == "sm_90a");
  CHECK(info.entries == std::vector<std::string>{"first", "second$1"});
}

TEST_CASE("A text that is no PTX is refused", "[jit]") {
  const auto [text, reason] =
      GENERATE(table<std::string, std::string>({{"", ".version"},
                                                {"/* .version 9.0", ".version"},
                                                {".version", ".version"},
                                                {".version 9.0\n", ".target is \"\""},
                                                {".version 9.0 .target texmode", "texmode"},
                                                {".version 9 .target sm_90 .entry", ".entry"}}));
  const Error error = error_of([&, &text = text] { read_ptx(text); });
  CHECK(error.code() == ErrorCode::corrupt);
  CHECK_THAT(error.what(), Catch::Contains(reason));
}
