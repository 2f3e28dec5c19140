// atom and red: every operation and type, contention between lanes, warps and CTAs.
#include <algorithm>
#include <numeric>

#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

using std::int32_t, std::int64_t, std::uint32_t, std::uint64_t;

/// One thread applies the operation to memory that holds `before`: the old value comes back, `after` is left, and red
/// does the same without the old value. `operand` may be two operands of cas.
struct Atomic {
  std::string operation;  // "add.u32"
  char kind;
  Word before;
  Words operands;
  Word after;
};

/// Atomics of 16 bits and of packed halves are beyond what decode kernels use.
auto checker(const std::string& operation) {
  const bool optional = operation.find("noftz") != std::string::npos || operation.ends_with("b16");
  return optional ? check_form_or_refusal : check_form;
}

void check_atomic(const Atomic& a) {
  const std::string width = a.kind == 'd' ? "b64" : a.kind == 'r' ? "b32" : "b16";
  std::string arguments, inputs{a.kind};
  Words in{a.before};
  for (std::size_t i = 0; i < a.operands.size(); ++i) {
    arguments += ", %i" + std::to_string(i + 1);
    inputs += a.kind;
    in.push_back(a.operands[i]);
  }
  const std::string out{a.kind}, three{a.kind, a.kind};
  const LaneOptions scope{.module_scope = ".global .align 8 .b64 cell;", .block = 1};
  const auto run = [&](const std::string& space, const std::string& prepare, const std::string& qualifier) {
    const std::string dot = space.empty() ? "" : "." + space;
    checker(a.operation)({prepare + "st" + dot + "." + width + " [%d1], %i0; atom" + qualifier + dot + "." +
                              a.operation + " %o0, [%d1]" + arguments + "; ld" + dot + "." + width + " %o1, [%d1];",
                          inputs, three},
                         {{in, {a.before, a.after}}}, scope);
  };
  const std::string global = "mov.u64 %d1, cell; ", shared = ".shared .align 8 .b64 box; mov.u64 %d1, box; ";
  run("global", global, "");
  run("shared", shared, "");
  run("", global + "cvta.global.u64 %d1, %d1; ", "");
  run("", shared + "cvta.shared.u64 %d1, %d1; ", "");
}

void check_reduction(const Atomic& a) {
  const std::string width = a.kind == 'd' ? "b64" : "b32";
  const std::string in{a.kind, a.kind}, out{a.kind};
  checker(a.operation)({"st.global." + width + " [cell], %i0; red.global." + a.operation + " [cell], %i1; ld.global." +
                            width + " %o0, [cell];",
                        in, out},
                       {{{a.before, a.operands[0]}, {a.after}}},
                       {.module_scope = ".global .align 8 .b64 cell;", .block = 1});
  checker(a.operation)({".shared .align 8 .b64 box; mov.u32 %r1, box; st.shared." + width + " [%r1], %i0; red.shared." +
                            a.operation + " [%r1], %i1; ld.shared." + width + " %o0, [%r1];",
                        in, out},
                       {{{a.before, a.operands[0]}, {a.after}}}, {.block = 1});
}

const Word kBig = 0xfffffffffffffff0;

}  // namespace

TEST_CASE("atom gives the old value and leaves the new one", "[ptx][atomic]") {
  for (const Atomic& a : std::vector<Atomic>{
           {"add.u32", 'r', 0xfffffff0, {0x20}, 0x10},
           {"add.s32", 'r', 5, {bits(-7)}, bits(-2)},
           {"add.u64", 'd', kBig, {0x20}, 0x10},
           {"add.f32", 'r', bits(1.5F), {bits(2.25F)}, bits(3.75F)},
           {"add.f64", 'd', bits(1.5), {bits(2.25)}, bits(3.75)},
           {"min.u32", 'r', 5, {0x80000000}, 5},
           {"max.u32", 'r', 5, {0x80000000}, 0x80000000},
           {"min.s32", 'r', 5, {0x80000000}, 0x80000000},
           {"max.s32", 'r', 5, {0x80000000}, 5},
           {"min.u64", 'd', 5, {kBig}, 5},
           {"max.u64", 'd', 5, {kBig}, kBig},
           {"min.s64", 'd', 5, {kBig}, kBig},
           {"max.s64", 'd', 5, {kBig}, 5},
           {"and.b32", 'r', 0xff00ff00, {0x0ff00ff0}, 0x0f000f00},
           {"or.b32", 'r', 0xff00ff00, {0x0ff00ff0}, 0xfff0fff0},
           {"xor.b32", 'r', 0xff00ff00, {0x0ff00ff0}, 0xf0f0f0f0},
           {"and.b64", 'd', kBig, {0xff}, 0xf0},
           {"or.b64", 'd', Word{1} << 40, {1}, (Word{1} << 40) | 1},
           {"xor.b64", 'd', kBig, {kBig}, 0},
           {"exch.b32", 'r', 5, {6}, 6},
           {"exch.b64", 'd', kBig, {6}, 6},
           {"inc.u32", 'r', 5, {5}, 0},
           {"inc.u32", 'r', 4, {5}, 5},
           {"inc.u32", 'r', 9, {5}, 0},
           {"dec.u32", 'r', 0, {5}, 5},
           {"dec.u32", 'r', 4, {5}, 3},
           {"dec.u32", 'r', 9, {5}, 5},
           {"cas.b32", 'r', 5, {5, 9}, 9},
           {"cas.b32", 'r', 5, {6, 9}, 5},
           {"cas.b64", 'd', kBig, {kBig, 9}, 9},
           {"cas.b64", 'd', kBig, {0xfffffff0, 9}, kBig},
           {"cas.b16", 'h', 5, {5, 9}, 9},
           {"cas.b16", 'h', 5, {6, 9}, 5},
           {"add.noftz.f16x2", 'r', 0x3c003c00, {0x40003800}, 0x42003e00},
           {"add.noftz.bf16x2", 'r', 0x3f803f80, {0x40003f00}, 0x40403fc0},
           {"add.noftz.f16", 'h', 0x3c00, {0x4000}, 0x4200},
           {"add.noftz.bf16", 'h', 0x3f80, {0x4000}, 0x4040},
       }) {
    check_atomic(a);
  }
}

TEST_CASE("red does the same without an old value", "[ptx][atomic]") {
  for (const Atomic& a : std::vector<Atomic>{{"add.u32", 'r', 0xfffffff0, {0x20}, 0x10},
                                             {"add.s32", 'r', 5, {bits(-7)}, bits(-2)},
                                             {"add.u64", 'd', kBig, {0x20}, 0x10},
                                             {"add.f32", 'r', bits(1.5F), {bits(2.25F)}, bits(3.75F)},
                                             {"add.f64", 'd', bits(1.5), {bits(2.25)}, bits(3.75)},
                                             {"min.s32", 'r', 5, {0x80000000}, 0x80000000},
                                             {"max.u64", 'd', 5, {kBig}, kBig},
                                             {"and.b32", 'r', 0xff00ff00, {0x0ff00ff0}, 0x0f000f00},
                                             {"or.b32", 'r', 0xff00ff00, {0x0ff00ff0}, 0xfff0fff0},
                                             {"xor.b64", 'd', kBig, {kBig}, 0},
                                             {"inc.u32", 'r', 5, {5}, 0},
                                             {"dec.u32", 'r', 0, {5}, 5},
                                             {"add.noftz.f16x2", 'r', 0x3c003c00, {0x40003800}, 0x42003e00}}) {
    check_reduction(a);
  }
}

TEST_CASE("orderings and scopes do not change the result", "[ptx][atomic]") {
  for (const std::string order : {".relaxed", ".acquire", ".release", ".acq_rel"}) {
    for (const std::string scope : {".cta", ".gpu", ".sys"}) {
      check_form({"st.global.u32 [cell], %i0; atom" + order + scope +
                      ".global.add.u32 %o0, [cell], 3; ld.global.u32 %o1, [cell];",
                  "r", "rr"},
                 {{{7}, {7, 10}}}, {.module_scope = ".global .u32 cell;", .block = 1});
      check_form({"mov.u64 %d1, cell; cvta.global.u64 %d1, %d1; st.global.u32 [cell], %i0; atom.add" + order + scope +
                      ".u32 %o0, [%d1], 3; ld.global.u32 %o1, [cell];",
                  "r", "rr"},
                 {{{7}, {7, 10}}}, {.module_scope = ".global .u32 cell;", .block = 1});
    }
  }
  for (const std::string form : {"red.relaxed.gpu.global.add.u32", "red.release.gpu.global.add.u32",
                                 "red.release.sys.global.add.u32", "red.gpu.global.add.u32"}) {
    check_form({"st.global.u32 [cell], %i0; " + form + " [cell], 3; ld.global.u32 %o0, [cell];", "r", "r"},
               {{{7}, {10}}}, {.module_scope = ".global .u32 cell;", .block = 1});
  }
}

TEST_CASE("an f32 sum keeps subnormals, and takes the canonical NaN", "[ptx][atomic]") {
  check_atomic({"add.f32", 'r', 1, {1}, 2});
  const std::vector<Words> rows = run_lanes(
      {"st.global.b32 [cell], %i0; atom.global.add.f32 %o0, [cell], %i1; ld.global.b32 %o1, [cell];", "rr", "rr"},
      {{kInfF32, bits(-std::numeric_limits<float>::infinity())}}, {.module_scope = ".global .u32 cell;", .block = 1});
  CHECK(std::isnan(as_float(rows[0][1])));
}

TEST_CASE("lanes that hit one address each see their own old value", "[ptx][atomic]") {
  for (const std::string space : {"global", "shared"}) {
    const std::string place = space == "shared"
                                  ? ".shared .u32 box; mov.u64 %d1, box; st.shared.u32 [box], 0; bar.warp.sync -1; "
                                  : "mov.u64 %d1, cell; ";
    const std::vector<Words> rows = run_lanes(
        {place + "atom." + space + ".add.u32 %o0, [%d1], 1; bar.warp.sync -1; ld." + space + ".u32 %o1, [%d1];", "",
         "rr"},
        std::vector<Words>(32), {.module_scope = ".global .u32 cell;"});
    Words old = column(rows);
    std::sort(old.begin(), old.end());
    for (uint32_t lane = 0; lane < 32; ++lane) {
      CHECK(old[lane] == lane);
      CHECK(rows[lane][1] == 32);
    }
  }
}

TEST_CASE("many CTAs over many host threads lose no update", "[ptx][atomic]") {
  for (const unsigned threads : {1U, 2U, 5U}) {
    Bench bench(kernel_text(
        "mov.u32 %r1, 0;\nL: atom.global.add.u32 %r2, [%ptr0], 1; red.global.add.u64 [%ptr0+8], %d31; "
        "atom.global.max.u32 %r3, [%ptr0+16], %index; atom.global.or.b32 %r4, [%ptr0+20], 1; red.global.add.f32 "
        "[%ptr0+24], 0f3F800000; add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 4; @%p1 bra L;",
        1, ""));
    const uint64_t out = bench.zeros<uint32_t>(8);
    LaunchOptions options = one_cta(96);
    options.grid = {20, 1, 1};
    options.threads = threads;
    bench.launch({out}, options);
    const auto values = bench.download<uint32_t>(out, 8);
    INFO(threads << " threads");
    CHECK(values[0] == 20 * 96 * 4);
    CHECK(values[4] == 20 * 96 - 1);
    CHECK(values[5] == 1);
    CHECK(std::bit_cast<float>(values[6]) == 20 * 96 * 4);
  }
}

TEST_CASE("a lock of compare-and-swap protects plain accesses", "[ptx][atomic]") {
  // One lane of each warp takes the lock, in all CTAs; the guarded counter is not atomic.
  for (const unsigned threads : {1U, 3U}) {
    Bench bench(kernel_text(
        "setp.ne.u32 %p1, %lane, 0; @%p1 bra DONE;\nTAKE: atom.acquire.gpu.global.cas.b32 %r1, [%ptr0], 0, 1; "
        "setp.ne.u32 %p2, %r1, 0; @%p2 bra TAKE; ld.relaxed.gpu.global.u32 %r2, [%ptr0+4]; add.u32 %r2, %r2, 1; "
        "st.relaxed.gpu.global.u32 [%ptr0+4], %r2; atom.release.gpu.global.exch.b32 %r3, [%ptr0], 0;\nDONE:",
        1));
    const uint64_t out = bench.zeros<uint32_t>(2);
    LaunchOptions options = one_cta(128);
    options.grid = {8, 1, 1};
    options.threads = threads;
    options.max_warp_instructions = 10'000'000;
    bench.launch({out}, options);
    CHECK(bench.download<uint32_t>(out, 2) == std::vector<uint32_t>{0, 32});
  }
}

TEST_CASE("the last CTA to finish is exactly one", "[ptx][atomic]") {
  // The usual split-K pattern: write, fence, count; the last one adds up what all wrote.
  Bench bench(kernel_text(
      "setp.ne.u32 %p1, %tx, 0; @%p1 bra DONE; mul.wide.u32 %d1, %cta, 4; add.u64 %d2, %ptr0, %d1; add.u32 %r1, %cta, "
      "1; st.global.u32 [%d2+16], %r1; membar.gl; atom.global.inc.u32 %r2, [%ptr0], 15; setp.ne.u32 %p2, %r2, 15; @%p2 "
      "bra DONE; membar.gl; mov.u32 %r3, 0; mov.u32 %r4, 0; add.u64 %d3, %ptr0, 16;\n"
      "SUM: ld.volatile.global.u32 %r5, [%d3]; add.u32 %r3, %r3, %r5; add.u64 %d3, %d3, 4; add.u32 %r4, %r4, 1; "
      "setp.lt.u32 %p3, %r4, 16; @%p3 bra SUM; st.global.u32 [%ptr0+4], %r3;\nDONE:",
      1));
  const uint64_t out = bench.zeros<uint32_t>(20);
  LaunchOptions options = one_cta(32);
  options.grid = {16, 1, 1};
  options.threads = 4;
  bench.launch({out}, options);
  const auto values = bench.download<uint32_t>(out, 2);
  CHECK(values[0] == 0);
  CHECK(values[1] == 136);
}

}  // namespace librt::ptx::test
