// What the machine reports when a kernel, or its caller, does wrong.
#include <algorithm>
#include <array>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t, std::uint64_t;

bool names(const std::string& message, std::initializer_list<std::string_view> needles) {
  return std::all_of(needles.begin(), needles.end(),
                     [&](std::string_view n) { return message.find(n) != std::string::npos; });
}

/// Message of a fault in a kernel whose %ptr0 is a buffer "tokens" of 64 bytes and %ptr1 "other" of 64 bytes.
std::string fault_of(Fault fault, const std::string& code, std::uint32_t threads = 32, const std::string& scope = "") {
  INFO(code);
  return message_of(fault, [&] {
    Bench bench(kernel_text(code, 2, scope));
    const uint64_t first = bench.zeros<uint32_t>(16, "tokens"), second = bench.zeros<uint32_t>(16, "other");
    LaunchOptions options = one_cta(threads);
    options.max_warp_instructions = 100000;
    bench.launch({first, second}, options);
  });
}

}  // namespace

TEST_CASE("an access outside of global memory names instruction, lane and nearest buffer", "[ptx][errors]") {
  const std::string past =
      fault_of(Fault::out_of_bounds, "mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %d1, %ptr0; ld.global.u32 %r1, [%d1];");
  INFO(past);
  CHECK(names(past, {"ld.global.u32", "lane 16", "tokens", "test"}));
  CHECK(names(fault_of(Fault::out_of_bounds, "st.global.u32 [%ptr1+64], %r1;"), {"st.global.u32", "other"}));
  CHECK(names(fault_of(Fault::out_of_bounds, "st.global.u8 [%ptr1+-1], %h1;"), {"st.global.u8", "other"}));
  CHECK(names(fault_of(Fault::out_of_bounds, "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%ptr0+64];"),
              {"ld.global.v4.u32", "tokens"}));
  CHECK(names(fault_of(Fault::out_of_bounds, "ld.global.u64 %d1, [%ptr0+64];"), {"tokens"}));
  CHECK(names(fault_of(Fault::out_of_bounds, "atom.global.add.u32 %r1, [%ptr0+64], 1;"),
              {"atom.global.add.u32", "tokens"}));
  CHECK(names(fault_of(Fault::out_of_bounds, "red.global.add.u32 [%ptr0+64], 1;"), {"red.global.add.u32", "tokens"}));
  // Far past the end: a megabyte and a gigabyte further there is still nothing of anybody else's.
  fault_of(Fault::out_of_bounds, "add.u64 %d1, %ptr0, 1048576; ld.global.u32 %r1, [%d1];");
  fault_of(Fault::out_of_bounds, "add.u64 %d1, %ptr0, 1073741824; ld.global.u32 %r1, [%d1];");
  fault_of(Fault::out_of_bounds, "mov.u64 %d1, 0; ld.global.u32 %r1, [%d1];");
  fault_of(Fault::out_of_bounds, "mov.u64 %d1, -16; ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d1];");
  fault_of(Fault::out_of_bounds, "mov.u64 %d1, 0; ld.u32 %r1, [%d1];");
}

TEST_CASE("an access that straddles the end of a buffer is outside", "[ptx][errors]") {
  const auto straddle = [](const std::string& code) {
    return message_of(Fault::out_of_bounds, [&] {
      Bench bench(kernel_text(code, 1));
      bench.launch({bench.zeros<char>(13, "odd")}, one_cta(1));
    });
  };
  CHECK(names(straddle("ld.global.u32 %r1, [%ptr0+12];"), {"odd"}));
  CHECK(names(straddle("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%ptr0];"), {"odd"}));
  CHECK(names(straddle("st.global.u64 [%ptr0+8], %d1;"), {"odd"}));
  Bench bench(kernel_text("ld.global.u8 %h1, [%ptr0+12]; st.global.u32 [%ptr0+8], 1;", 1));
  bench.launch({bench.zeros<char>(13)}, one_cta(1));
}

TEST_CASE("a buffer of no bytes holds nothing", "[ptx][errors]") {
  Bench bench(kernel_text("ld.global.u8 %h1, [%ptr0];", 1));
  const uint64_t empty = bench.memory.allocate(0, "nothing");
  CHECK(names(message_of(Fault::out_of_bounds, [&] { bench.launch({empty}, one_cta(1)); }), {"nothing"}));
}

TEST_CASE("shared, local, constant and parameter memory have ends too", "[ptx][errors]") {
  CHECK(names(
      fault_of(
          Fault::out_of_bounds,
          ".shared .align 4 .b8 box[64]; mov.u32 %r1, box; mad.lo.u32 %r1, %tx, 4, %r1; st.shared.u32 [%r1], %r1;"),
      {"st.shared.u32", "lane 16"}));
  fault_of(Fault::out_of_bounds, ".shared .align 4 .b8 box[64]; mov.u32 %r1, box; ld.shared.u32 %r2, [%r1+-4];");
  fault_of(Fault::out_of_bounds,
           ".shared .align 4 .b8 box[64]; mov.u32 %r1, box; ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%r1+64];");
  fault_of(Fault::out_of_bounds,
           ".shared .align 4 .b8 box[64]; mov.u64 %d1, box; cvta.shared.u64 %d1, %d1; ld.u32 %r2, [%d1+64];");
  fault_of(Fault::out_of_bounds,
           ".shared .align 4 .b8 box[64]; mov.u32 %r1, box; atom.shared.add.u32 %r2, [%r1+64], 1;");
  fault_of(Fault::out_of_bounds, "mov.u32 %r1, 64; ld.shared.u32 %r2, [%r1];");
  CHECK(
      names(fault_of(Fault::out_of_bounds, ".local .align 4 .b8 own[16]; mov.u64 %d1, own; st.local.u32 [%d1+16], 1;"),
            {"st.local.u32"}));
  fault_of(Fault::out_of_bounds,
           ".local .align 4 .b8 own[16]; mov.u64 %d1, own; cvta.local.u64 %d1, %d1; ld.u32 %r1, [%d1+16];");
  fault_of(Fault::out_of_bounds, "mov.u64 %d1, c; ld.const.u32 %r1, [%d1+4];", 32, ".const .align 4 .u32 c = 1;");
  fault_of(Fault::out_of_bounds, "mov.u64 %d1, arg0; ld.param.u64 %d2, [%d1+16];");
}

TEST_CASE("a module-scope variable ends where it ends", "[ptx][errors]") {
  CHECK(names(fault_of(Fault::out_of_bounds, "mov.u64 %d1, table; ld.global.u32 %r1, [%d1+16];", 32,
                       ".global .align 16 .u32 table[4];\n.global .align 16 .u32 next[4];"),
              {"table"}));
}

TEST_CASE("dynamic shared memory ends where the launch says", "[ptx][errors]") {
  const auto run = [](uint32_t bytes) {
    Bench bench(
        kernel_text("mov.u32 %r1, dynamic; st.shared.u32 [%r1+60], 1;", 0, ".extern .shared .align 16 .b8 dynamic[];"));
    LaunchOptions options = one_cta(1);
    options.dynamic_shared_bytes = bytes;
    bench.launch({}, options);
  };
  CHECK_NOTHROW(run(64));
  message_of(Fault::out_of_bounds, [&] { run(60); });
}

TEST_CASE("an access must be aligned to its size", "[ptx][errors]") {
  CHECK(names(fault_of(Fault::misaligned, "ld.global.u32 %r1, [%ptr0+2];"), {"ld.global.u32", "lane 0"}));
  fault_of(Fault::misaligned, "ld.global.u16 %h1, [%ptr0+1];");
  fault_of(Fault::misaligned, "st.global.u64 [%ptr0+4], %d1;");
  fault_of(Fault::misaligned, "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%ptr0+8];");
  fault_of(Fault::misaligned, "ld.global.v2.u32 {%r1, %r2}, [%ptr0+4];");
  fault_of(Fault::misaligned, ".shared .align 16 .b8 box[64]; mov.u32 %r1, box; ld.shared.u32 %r2, [%r1+1];");
  fault_of(Fault::misaligned, ".local .align 16 .b8 own[64]; mov.u64 %d1, own; st.local.u64 [%d1+4], %d1;");
  fault_of(Fault::misaligned, "atom.global.add.u32 %r1, [%ptr0+2], 1;");
}

TEST_CASE("constant memory cannot be written", "[ptx][errors]") {
  fault_of(Fault::out_of_bounds, "mov.u64 %d1, c; cvta.const.u64 %d1, %d1; st.u32 [%d1], 5;", 1,
           ".const .align 4 .u32 c = 1;");
}

TEST_CASE("trap, and a kernel that does not end", "[ptx][errors]") {
  CHECK(names(fault_of(Fault::trap, "setp.eq.u32 %p1, %tx, 3; @%p1 trap;"), {"trap", "lane 3"}));
  fault_of(Fault::instruction_limit, "L: bra L;");
  fault_of(Fault::instruction_limit, "L: ld.volatile.global.u32 %r1, [%ptr0]; setp.eq.u32 %p1, %r1, 0; @%p1 bra L;");
}

TEST_CASE("the message names the line of the text and the place in the grid", "[ptx][errors]") {
  const std::string text =
      ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry test(.param .u64 a)\n{\n.reg .b64 %d<3>; .reg "
      ".b32 %r<3>; .reg .pred %p<2>;\nld.param.u64 %d1, [a];\nmov.u32 %r1, %ctaid.x;\nsetp.ne.u32 %p1, %r1, 5;\n@%p1 "
      "bra DONE;\nld.global.u32 %r2, [%d1+4];\nDONE: ret;\n}\n";
  const std::string message = message_of(Fault::out_of_bounds, [&] {
    Bench bench(text);
    LaunchOptions options = one_cta(1);
    options.grid = {7, 1, 1};
    bench.launch({bench.zeros<uint32_t>(1, "single")}, options);
  });
  INFO(message);
  CHECK(names(message, {"11", "5", "single", "ld.global.u32"}));
}

TEST_CASE("a launch must fit the kernel", "[ptx][errors]") {
  Bench bench(kernel_text(".shared .b8 box[1000]; st.shared.u8 [box], 1;", 2));
  const std::array<uint64_t, 3> three{};
  const auto bytes = std::as_bytes(std::span(three));
  const auto attempt = [&](std::string_view entry, std::size_t size, LaunchOptions options) {
    return message_of(Fault::launch, [&] { launch(bench.module, bench.memory, entry, bytes.first(size), options); });
  };
  CHECK(names(attempt("tset", 16, {}), {"tset", "test"}));
  CHECK(names(attempt("test", 8, {}), {"16", "8"}));
  CHECK(names(attempt("test", 24, {}), {"16", "24"}));
  LaunchOptions options;
  options.max_shared_bytes = 999;
  CHECK(names(attempt("test", 16, options), {"999", "1000"}));
  options.max_shared_bytes = 2000;
  options.dynamic_shared_bytes = 1100;
  CHECK(names(attempt("test", 16, options), {"2000"}));
  for (const Dim3 block : {Dim3{1025, 1, 1}, Dim3{32, 33, 1}, Dim3{0, 1, 1}, Dim3{1, 1, 65}}) {
    options = {};
    options.block = block;
    attempt("test", 16, options);
  }
  for (const Dim3 grid : {Dim3{0, 1, 1}, Dim3{1, 65536, 1}, Dim3{1, 1, 65536}}) {
    options = {};
    options.grid = grid;
    attempt("test", 16, options);
  }
  CHECK_NOTHROW(launch(bench.module, bench.memory, "test", bytes.first(16), LaunchOptions{}));
}

TEST_CASE("required and greatest block sizes are kept", "[ptx][errors]") {
  const auto run = [](const std::string& directive, uint32_t threads) {
    Bench(".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry test()\n" + directive + "\n{\nret;\n}\n")
        .launch({}, one_cta(threads));
  };
  CHECK_NOTHROW(run(".maxntid 128, 1, 1\n.minnctapersm 2", 128));
  CHECK_NOTHROW(run(".reqntid 64", 64));
  CHECK_NOTHROW(run(".maxnreg 64", 128));
  message_of(Fault::launch, [&] { run(".maxntid 128, 1, 1", 160); });
  message_of(Fault::launch, [&] { run(".reqntid 64, 1, 1", 32); });
}

TEST_CASE("memory knows what is allocated", "[ptx][errors]") {
  Memory memory;
  const uint64_t a = memory.allocate(100, "a"), b = memory.allocate(8, "b");
  CHECK(a % 256 == 0);
  CHECK(b % 256 == 0);
  CHECK((a > b ? a - b : b - a) >= uint64_t{1} << 36);
  CHECK(memory.bytes_in_use() == 108);
  std::array<std::byte, 101> bytes{};
  CHECK_NOTHROW(memory.write(a, std::span(bytes).first(100)));
  CHECK_NOTHROW(memory.read(a + 60, std::span(bytes).first(40)));
  CHECK(names(message_of(Fault::out_of_bounds, [&] { memory.write(a, bytes); }), {"a"}));
  message_of(Fault::out_of_bounds, [&] { memory.read(a + 61, std::span(bytes).first(40)); });
  message_of(Fault::out_of_bounds, [&] { memory.read(a + 100, std::span(bytes).first(1)); });
  message_of(Fault::out_of_bounds, [&] { memory.read(a - 1, std::span(bytes).first(1)); });
  message_of(Fault::out_of_bounds, [&] { memory.release(a + 1); });
  memory.release(a);
  CHECK(memory.bytes_in_use() == 8);
  message_of(Fault::out_of_bounds, [&] { memory.release(a); });
  message_of(Fault::out_of_bounds, [&] { memory.read(a, std::span(bytes).first(1)); });
  CHECK(memory.allocate(100, "c") != a);
}

TEST_CASE("fresh memory holds a pattern that is not zero", "[ptx][errors]") {
  Memory memory;
  const uint64_t address = memory.allocate(4096, "fresh");
  std::vector<std::byte> bytes(4096);
  memory.read(address, bytes);
  CHECK(std::count(bytes.begin(), bytes.end(), std::byte{0}) == 0);
}

TEST_CASE("released memory cannot be used by a kernel", "[ptx][errors]") {
  Bench bench(kernel_text("ld.global.u32 %r1, [%ptr0];", 1));
  const uint64_t buffer = bench.zeros<uint32_t>(4, "gone");
  bench.launch({buffer}, one_cta());
  bench.memory.release(buffer);
  message_of(Fault::out_of_bounds, [&] { bench.launch({buffer}, one_cta()); });
}

TEST_CASE("memory stays usable after a fault", "[ptx][errors]") {
  Bench bench(kernel_text("ld.global.u32 %r1, [%ptr1]; st.global.u32 [%ptr0], %r1;", 2));
  const uint64_t out = bench.zeros<uint32_t>(1), source = bench.upload(std::vector<uint32_t>{9});
  for (const unsigned threads : {1U, 4U}) {
    LaunchOptions options = one_cta(1);
    options.grid = {16, 1, 1};
    options.threads = threads;
    message_of(Fault::out_of_bounds, [&] { bench.launch({out, 64}, options); });
    bench.launch({out, source}, options);
    CHECK(bench.download<uint32_t>(out, 1)[0] == 9);
  }
}

TEST_CASE("every class of fault has a name of its own", "[ptx][errors]") {
  std::vector<std::string> seen;
  for (const Fault fault : {Fault::syntax, Fault::unsupported, Fault::launch, Fault::out_of_bounds, Fault::misaligned,
                            Fault::deadlock, Fault::illegal_sync, Fault::trap, Fault::instruction_limit}) {
    const std::string name(to_string(fault));
    CHECK_FALSE(name.empty());
    CHECK(std::find(seen.begin(), seen.end(), name) == seen.end());
    seen.push_back(name);
  }
}

}  // namespace librt::ptx::test
