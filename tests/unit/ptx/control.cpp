// Predication, branches, divergence and reconvergence.
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t;

template <class F>
void check_lanes(const std::string& code, F&& expected) {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{lane}, {expected(lane)}});
  check_form({code, "r", "r"}, examples);
}

}  // namespace

TEST_CASE("a predicated instruction changes only the lanes whose predicate holds", "[ptx][control]") {
  check_lanes("mov.u32 %o0, 5; setp.gt.u32 %p1, %i0, 9; @%p1 mov.u32 %o0, 7; @!%p1 add.u32 %o0, %o0, 1;",
              [](uint32_t lane) { return Word{lane > 9 ? 7U : 6U}; });
  check_lanes(
      "mov.u32 %o0, 5; setp.gt.u32 %p1, %i0, 9; setp.lt.u32 %p2, %i0, 20; @%p1 setp.eq.u32 %p2, %i0, 12; @%p2 mov.u32 "
      "%o0, 1;",
      [](uint32_t lane) { return Word{lane > 9 ? (lane == 12 ? 1U : 5U) : 1U}; });
}

TEST_CASE("predicated loads do not touch memory in the other lanes", "[ptx][control]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{lane}, {lane == 0 ? 77U : 5U}});
  check_form({"mov.u32 %o0, 5; mov.u64 %d1, cell; mul.wide.u32 %d2, %i0, 1048576; add.u64 %d1, %d1, %d2; setp.eq.u32 "
              "%p1, %i0, 0; @%p1 ld.global.u32 %o0, [%d1];",
              "r", "r"},
             examples, {.module_scope = ".global .u32 cell = 77;"});
}

TEST_CASE("if and else", "[ptx][control]") {
  check_lanes(
      "setp.lt.u32 %p1, %i0, 13; @%p1 bra THEN; mul.lo.u32 %o0, %i0, 10; bra END;\nTHEN: add.u32 %o0, %i0, 1000;\nEND: "
      "add.u32 %o0, %o0, 1;",
      [](uint32_t lane) { return Word{(lane < 13 ? lane + 1000 : lane * 10) + 1}; });
}

TEST_CASE("nested branches", "[ptx][control]") {
  check_lanes(
      "mov.u32 %o0, 0; and.b32 %r1, %i0, 1; setp.eq.u32 %p1, %r1, 0; @%p1 bra EVEN;\n"
      "and.b32 %r1, %i0, 2; setp.eq.u32 %p2, %r1, 0; @%p2 bra ODD_A; add.u32 %o0, %o0, 1; bra ODD_END;\nODD_A: add.u32 "
      "%o0, %o0, 2;\nODD_END: add.u32 %o0, %o0, 10; bra END;\n"
      "EVEN: setp.gt.u32 %p2, %i0, 15; @%p2 bra EVEN_B; add.u32 %o0, %o0, 4; bra END;\nEVEN_B: add.u32 %o0, %o0, "
      "8;\nEND: activemask.b32 %r2; popc.b32 %r2, %r2; mad.lo.u32 %o0, %r2, 100, %o0;",
      [](uint32_t lane) {
        const uint32_t path = lane % 2 == 1 ? ((lane & 2) == 0 ? 12U : 11U) : (lane > 15 ? 8U : 4U);
        return Word{path + 3200};  // all 32 lanes are together again at the end
      });
}

TEST_CASE("loops whose trip count depends on the lane", "[ptx][control]") {
  check_lanes(
      "mov.u32 %o0, 0; mov.u32 %r1, 0;\nLOOP: setp.ge.u32 %p1, %r1, %i0; @%p1 bra END; add.u32 %r1, %r1, 1; mad.lo.u32 "
      "%o0, %r1, %r1, %o0; bra.uni LOOP;\nEND:",
      [](uint32_t lane) { return Word{lane * (lane + 1) * (2 * lane + 1) / 6}; });
  // Nested: sum over i < lane of (i mod 4) inner steps.
  check_lanes(
      "mov.u32 %o0, 0; mov.u32 %r1, 0;\nOUTER: setp.ge.u32 %p1, %r1, %i0; @%p1 bra END; and.b32 %r2, %r1, 3;\nINNER: "
      "setp.eq.u32 %p2, %r2, 0; @%p2 bra NEXT; add.u32 %o0, %o0, 1; sub.u32 %r2, %r2, 1; bra INNER;\n"
      "NEXT: add.u32 %r1, %r1, 1; bra OUTER;\nEND:",
      [](uint32_t lane) {
        Word sum = 0;
        for (uint32_t i = 0; i < lane; ++i) sum += i % 4;
        return sum;
      });
}

TEST_CASE("Collatz: lanes leave a data-dependent loop one by one", "[ptx][control]") {
  check_lanes(
      "mov.u32 %o0, 0; add.u32 %r1, %i0, 1;\nL: setp.eq.u32 %p1, %r1, 1; @%p1 bra E; and.b32 %r2, %r1, 1; setp.eq.u32 "
      "%p2, %r2, 0; add.u32 %o0, %o0, 1; @%p2 bra HALF; mad.lo.u32 %r1, %r1, 3, 1; bra L;\nHALF: shr.u32 %r1, %r1, 1; "
      "bra L;\nE:",
      [](uint32_t lane) {
        Word steps = 0;
        for (uint32_t n = lane + 1; n != 1; n = n % 2 == 0 ? n / 2 : 3 * n + 1) ++steps;
        return steps;
      });
}

TEST_CASE("lanes that return early leave the others running", "[ptx][control]") {
  for (const std::string leave : {"ret", "exit"}) {
    Bench bench(
        kernel_text("shl.b32 %r1, %tx, 2; cvt.u64.u32 %d1, %r1; add.u64 %d1, %ptr0, %d1; and.b32 %r2, %tx, 3; "
                    "setp.eq.u32 %p1, %r2, 0; st.global.u32 [%d1], 1; @%p1 " +
                        leave + ";\nbar.warp.sync 0xeeeeeeee; activemask.b32 %r3; st.global.u32 [%d1], %r3;",
                    1));
    const std::uint64_t out = bench.zeros<uint32_t>(32);
    bench.launch({out}, one_cta());
    const auto values = bench.download<uint32_t>(out, 32);
    for (uint32_t lane = 0; lane < 32; ++lane) CHECK(values[lane] == (lane % 4 == 0 ? 1U : 0xeeeeeeeeU));
  }
}

TEST_CASE("a branch table picks its target by index", "[ptx][control]") {
  check_lanes(
      "and.b32 %r1, %i0, 3;\nTABLE: .branchtargets A, B, C, A;\nbrx.idx %r1, TABLE;\nA: mov.u32 %o0, 10; bra END;\nB: "
      "mov.u32 %o0, 20; bra END;\nC: mov.u32 %o0, 30;\nEND:",
      [](uint32_t lane) {
        return Word{lane % 4 == 1 ? 20U : lane % 4 == 2 ? 30U : 10U};
      });
}

TEST_CASE("blocks scope registers and labels", "[ptx][control]") {
  check_lanes(
      "mov.u32 %o0, %i0;\n{ .reg .u32 t; mov.u32 t, 5; add.u32 %o0, %o0, t; bra L; add.u32 %o0, %o0, 100;\nL: }\n{ "
      ".reg .u64 t; cvt.u64.u32 t, %o0; add.u64 t, t, 3; cvt.u32.u64 %o0, t; bra L; add.u32 %o0, %o0, 100;\nL: }",
      [](uint32_t lane) { return Word{lane + 8}; });
}

TEST_CASE("comments, locations and pragmas are skipped", "[ptx][control]") {
  check_lanes(
      "// line comment; add.u32 %o0, 1, 1;\n/* block\n comment */ mov.u32 %o0, %i0; .pragma \"nounroll\";\nadd.u32 /* "
      "in between */ %o0, %o0, 1; .loc 1 10 5\nadd.u32 %o0, %o0, 1;",
      [](uint32_t lane) { return Word{lane + 2}; });
}

TEST_CASE("line tables and debug sections change nothing", "[ptx][control]") {
  std::string text = kernel_text(
      ".loc 1 10 5\nmov.u32 %r1, 5;\n$L__tmp0:\n.loc 1 20 9, function_name $L__info_string0, inlined_at 1 10 5\n"
      "st.global.u32 [%ptr0], %r1;",
      1, ".file 1 \"/a path/kernel.cu\"\n.file 2 \"b.cuh\", 1700000000, 1234");
  text += ".section .debug_str\n{\n$L__info_string0:\n.b8 95,90,78,0\n.b8 1\n.b32 .debug_str\n}\n";
  Bench bench(text);
  const std::uint64_t out = bench.zeros<uint32_t>(1);
  bench.launch({out}, one_cta(1));
  CHECK(bench.download<uint32_t>(out, 1)[0] == 5);
}

TEST_CASE("a lane that spins on another lane of its warp gets there, or is reported", "[ptx][control]") {
  // Lane 0 spins at the lower address until lane 1, later in the text, raises the flag.
  Bench bench(
      kernel_text("setp.ne.u32 %p1, %tx, 0; @%p1 bra RAISE;\nSPIN: ld.volatile.global.u32 %r1, [%ptr0]; setp.eq.u32 "
                  "%p2, %r1, 0; @%p2 bra SPIN; st.global.u32 [%ptr0+4], 9; bra DONE;\n"
                  "RAISE: setp.ne.u32 %p3, %tx, 1; @%p3 bra DONE; st.volatile.global.u32 [%ptr0], 1;\nDONE:",
                  1));
  const std::uint64_t flags = bench.zeros<uint32_t>(2);
  LaunchOptions options = one_cta();
  options.max_warp_instructions = 1000000;
  // The lowest PC runs first, so the spinning lane may hold the others back for ever: then the limit must end it.
  try {
    bench.launch({flags}, options);
    CHECK(bench.download<uint32_t>(flags, 2) == std::vector<uint32_t>{1, 9});
  } catch (const MachineError& error) {
    INFO(error.what());
    CHECK((error.fault() == Fault::instruction_limit || error.fault() == Fault::deadlock));
  }
}

TEST_CASE("a partial warp runs only the lanes that exist", "[ptx][control]") {
  Bench bench(kernel_text(
      "activemask.b32 %r1; mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %ptr0, %d1; st.global.u32 [%d1], %r1;", 1));
  const std::uint64_t out = bench.zeros<uint32_t>(40);
  bench.launch({out}, one_cta(37));
  const auto values = bench.download<uint32_t>(out, 40);
  CHECK(values[0] == 0xffffffff);
  CHECK(values[36] == 0x1f);
  CHECK(values[37] == 0);
}

TEST_CASE("a backward branch at the end and code after ret", "[ptx][control]") {
  check_lanes(
      "mov.u32 %r1, 0; bra TEST;\nBODY: add.u32 %r1, %r1, 2; bra TEST;\nOUT: mov.u32 %o0, %r1; bra END;\nTEST: "
      "setp.lt.u32 %p1, %r1, %i0; @%p1 bra BODY; bra OUT;\nEND:",
      [](uint32_t lane) { return Word{(lane + 1) / 2 * 2}; });
}

}  // namespace librt::ptx::test
