// cp.async: sizes, zero fill, groups, and when the bytes arrive.
#include <fmt/format.h>

#include <set>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t, std::uint64_t;

constexpr CopyTiming kTimings[] = {CopyTiming::late, CopyTiming::early, CopyTiming::random};

// Sixteen shared bytes a lane, all ones before; the lane's source bytes are at %d2 and its target at %r2 and %d3.
const std::string kSetUp =
    ".shared .align 16 .b8 box[512]; mov.u32 %r1, box; mad.lo.u32 %r2, %lane, 16, %r1; cvt.u64.u32 %d3, %r2; "
    "mul.wide.u32 %d2, %lane, 16; mov.u64 %d4, source; add.u64 %d2, %d2, %d4; st.global.v2.b64 [%d2], {%i0, %i1};\n"
    "st.shared.v2.b64 [%r2], {-1, -1};\n";
const std::string kRead = "\nld.shared.v2.b64 {%o0, %o1}, [%r2];";
const Word kLow = 0x0807060504030201, kHigh = 0x100f0e0d0c0b0a09, kOnes = ~Word{0};

void check_copy(const std::string& copy, const Words& expected) {
  for (const CopyTiming timing : kTimings) {
    check_form({kSetUp + copy + " cp.async.commit_group; cp.async.wait_group 0;" + kRead, "dd", "dd"},
               {{{kLow, kHigh}, expected}},
               {.module_scope = ".global .align 16 .b8 source[512];", .copy_timing = timing});
    check_form({kSetUp + copy + " cp.async.wait_all;" + kRead, "dd", "dd"}, {{{kLow, kHigh}, expected}},
               {.module_scope = ".global .align 16 .b8 source[512];", .copy_timing = timing});
  }
}

/// What one lane sees in a kernel of one copy (5 over 1): straight after the issue, after the commit, after the wait.
Words seen(CopyTiming timing, std::uint64_t seed, const std::string& wait) {
  Bench bench(
      kernel_text(".shared .align 4 .b32 cell; mov.u32 %r1, cell; st.shared.u32 [%r1], 1; cp.async.ca.shared.global "
                  "[%r1], [%ptr0], 4; ld.shared.u32 %r2, [%r1]; cp.async.commit_group; ld.shared.u32 %r3, [%r1]; " +
                      wait +
                      " ld.shared.u32 %r4, [%r1]; st.global.u32 [%ptr1], %r2; st.global.u32 [%ptr1+4], %r3; "
                      "st.global.u32 [%ptr1+8], %r4;",
                  2));
  const uint64_t source = bench.upload(std::vector<uint32_t>{5}), out = bench.zeros<uint32_t>(3);
  LaunchOptions options = one_cta(1);
  options.copy_timing = timing;
  options.seed = seed;
  bench.launch({source, out}, options);
  const auto values = bench.download<uint32_t>(out, 3);
  return {values[0], values[1], values[2]};
}

}  // namespace

TEST_CASE("cp.async copies 4, 8 or 16 bytes", "[ptx][async]") {
  check_copy("cp.async.ca.shared.global [%r2], [%d2], 4;", {kOnes << 32 | 0x04030201, kOnes});
  check_copy("cp.async.ca.shared.global [%r2+4], [%d2+8], 4;", {Word{0x0c0b0a09} << 32 | 0xffffffff, kOnes});
  check_copy("cp.async.ca.shared.global [%r2], [%d2], 8;", {kLow, kOnes});
  check_copy("cp.async.ca.shared.global [%r2], [%d2], 16;", {kLow, kHigh});
  check_copy("cp.async.cg.shared.global [%r2], [%d2], 16;", {kLow, kHigh});
  check_copy("cp.async.cg.shared.global [%d3], [%d2], 16;", {kLow, kHigh});
  check_copy("cp.async.cg.shared::cta.global [%r2], [%d2], 16;", {kLow, kHigh});
}

TEST_CASE("prefetch sizes and cache hints do not change a copy", "[ptx][async]") {
  for (const std::string level : {".L2::64B", ".L2::128B", ".L2::256B"})
    check_copy("cp.async.cg.shared.global" + level + " [%r2], [%d2], 16;", {kLow, kHigh});
  check_copy("cp.async.ca.shared.global.L2::128B [%r2], [%d2], 8;", {kLow, kOnes});
  check_copy(
      "createpolicy.fractional.L2::evict_first.b64 %d9, 1.0; cp.async.cg.shared.global.L2::cache_hint [%r2], [%d2], "
      "16, %d9;",
      {kLow, kHigh});
  check_copy(
      "createpolicy.fractional.L2::evict_first.b64 %d9, 1.0; cp.async.cg.shared.global.L2::cache_hint.L2::128B [%r2], "
      "[%d2], 16, 16, %d9;",
      {kLow, kHigh});
}

TEST_CASE("a smaller source is filled up with zeros", "[ptx][async]") {
  check_copy("mov.u32 %r9, 0; cp.async.cg.shared.global [%r2], [%d2], 16, %r9;", {0, 0});
  check_copy("mov.u32 %r9, 16; cp.async.cg.shared.global.L2::128B [%r2], [%d2], 16, %r9;", {kLow, kHigh});
  check_copy("mov.u32 %r9, 10; cp.async.cg.shared.global [%r2], [%d2], 16, %r9;", {kLow, 0x0a09});
  check_copy("cp.async.ca.shared.global [%r2], [%d2], 8, 3;", {0x030201, kOnes});
  check_copy("cp.async.ca.shared.global [%r2], [%d2], 4, 1;", {kOnes << 32 | 0x01, kOnes});
  check_copy("cp.async.ca.shared.global [%r2], [%d2], 4, 0;", {kOnes << 32, kOnes});
}

TEST_CASE("an ignored source is zeros", "[ptx][async]") {
  check_copy("setp.eq.u32 %p1, %r1, %r1; cp.async.cg.shared.global [%r2], [%d2], 16, %p1;", {0, 0});
  check_copy("setp.ne.u32 %p1, %r1, %r1; cp.async.cg.shared.global [%r2], [%d2], 16, %p1;", {kLow, kHigh});
}

TEST_CASE("a source that is not read may point anywhere", "[ptx][async]") {
  check_copy("mov.u64 %d8, 16; cp.async.cg.shared.global [%r2], [%d8], 16, 0;", {0, 0});
  check_copy("mov.u64 %d8, 16; setp.eq.u32 %p1, %r1, %r1; cp.async.cg.shared.global [%r2], [%d8], 16, %p1;", {0, 0});
}

TEST_CASE("lanes switched off by a predicate copy nothing", "[ptx][async]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane)
    examples.push_back({{kLow + lane, kHigh}, {lane % 2 == 0 ? kLow + lane : kOnes, lane % 2 == 0 ? kHigh : kOnes}});
  check_form({kSetUp +
                  "and.b32 %r5, %lane, 1; setp.eq.u32 %p1, %r5, 0; @%p1 cp.async.cg.shared.global [%r2], [%d2], 16; "
                  "cp.async.commit_group; cp.async.wait_group 0;" +
                  kRead,
              "dd", "dd"},
             examples, {.module_scope = ".global .align 16 .b8 source[512];"});
}

TEST_CASE("late copies leave the old bytes until the wait", "[ptx][async]") {
  CHECK(seen(CopyTiming::late, 0, "cp.async.wait_group 0;") == Words{1, 1, 5});
  CHECK(seen(CopyTiming::late, 0, "cp.async.wait_all;") == Words{1, 1, 5});
  // A kernel that forgets the wait, or waits for all groups but the newest, reads the old bytes.
  CHECK(seen(CopyTiming::late, 0, "") == Words{1, 1, 1});
  CHECK(seen(CopyTiming::late, 0, "cp.async.wait_group 1;") == Words{1, 1, 1});
  CHECK(seen(CopyTiming::late, 0, "bar.warp.sync 1;") == Words{1, 1, 1});
  CHECK(seen(CopyTiming::late, 0, "bar.sync 0;") == Words{1, 1, 1});
}

TEST_CASE("early copies are there at once", "[ptx][async]") {
  CHECK(seen(CopyTiming::early, 0, "") == Words{5, 5, 5});
  CHECK(seen(CopyTiming::early, 0, "cp.async.wait_group 0;") == Words{5, 5, 5});
}

TEST_CASE("random copies come at any moment, the same for the same seed", "[ptx][async]") {
  std::set<Words> outcomes;
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    const Words outcome = seen(CopyTiming::random, seed, "cp.async.wait_group 0;");
    CHECK(outcome == seen(CopyTiming::random, seed, "cp.async.wait_group 0;"));
    CHECK(outcome[2] == 5);
    CHECK(outcome[0] <= outcome[1]);
    outcomes.insert(outcome);
  }
  CHECK(outcomes.contains(Words{1, 1, 5}));
  CHECK(outcomes.size() >= 2);
}

TEST_CASE("groups complete in order, and wait_group leaves the newest ones open", "[ptx][async]") {
  // Three groups into three cells; after wait_group n the newest n cells still hold the old bytes when copies are late.
  for (uint32_t pending = 0; pending <= 3; ++pending) {
    Bench bench(kernel_text(
        fmt::format(".shared .align 4 .b32 cells[3]; mov.u32 %r1, cells; st.shared.u32 [%r1], 1; st.shared.u32 "
                    "[%r1+4], 1; st.shared.u32 [%r1+8], 1; cp.async.ca.shared.global [%r1], [%ptr0], 4; "
                    "cp.async.commit_group; cp.async.ca.shared.global [%r1+4], [%ptr0+4], 4; cp.async.commit_group; "
                    "cp.async.ca.shared.global [%r1+8], [%ptr0+8], 4; cp.async.commit_group; cp.async.wait_group {}; "
                    "ld.shared.u32 %r2, [%r1]; ld.shared.u32 %r3, [%r1+4]; ld.shared.u32 %r4, [%r1+8]; "
                    "st.global.u32 [%ptr1], %r2; st.global.u32 [%ptr1+4], %r3; st.global.u32 [%ptr1+8], %r4;",
                    pending),
        2));
    const uint64_t source = bench.upload(std::vector<uint32_t>{10, 11, 12}), out = bench.zeros<uint32_t>(3);
    bench.launch({source, out}, one_cta(1));
    const auto values = bench.download<uint32_t>(out, 3);
    for (uint32_t i = 0; i < 3; ++i) CHECK(values[i] == (i + pending < 3 ? 10 + i : 1));
  }
}

TEST_CASE("an empty group counts, and an uncommitted copy belongs to none", "[ptx][async]") {
  const auto run = [](const std::string& code) {
    Bench bench(
        kernel_text(".shared .align 4 .b32 cell; mov.u32 %r1, cell; st.shared.u32 [%r1], 1; cp.async.ca.shared.global "
                    "[%r1], [%ptr0], 4; " +
                        code + " ld.shared.u32 %r2, [%r1]; st.global.u32 [%ptr1], %r2;",
                    2));
    const uint64_t source = bench.upload(std::vector<uint32_t>{5}), out = bench.zeros<uint32_t>(1);
    bench.launch({source, out}, one_cta(1));
    return bench.download<uint32_t>(out, 1)[0];
  };
  CHECK(run("cp.async.commit_group; cp.async.commit_group; cp.async.wait_group 1;") == 5);
  CHECK(run("cp.async.commit_group; cp.async.wait_group 1;") == 1);
  CHECK(run("cp.async.wait_group 0;") == 1);
  CHECK(run("cp.async.wait_all;") == 5);
}

TEST_CASE("a multi-stage ring gives the same sum under every timing", "[ptx][async]") {
  // Two stages over eight tiles of 32 words; every lane adds what another lane copied, so barriers matter as well.
  for (const CopyTiming timing : kTimings) {
    for (const std::uint64_t seed : {1U, 2U, 3U}) {
      Bench bench(
          kernel_text(".shared .align 16 .b8 ring[256]; mov.u32 %r1, ring; shl.b32 %r2, %tx, 2; add.u32 %r2, %r2, %r1; "
                      "xor.b32 %r3, %tx, 31; shl.b32 %r3, %r3, 2; add.u32 %r3, %r3, %r1; mul.wide.u32 %d1, %tx, 4; "
                      "add.u64 %d2, %ptr0, %d1; mov.u32 %r4, 0; mov.u32 %r5, 0;\n"
                      "cp.async.ca.shared.global [%r2], [%d2], 4; cp.async.commit_group;\n"
                      "LOOP: add.u32 %r6, %r4, 1; setp.ge.u32 %p1, %r6, 8; @%p1 bra COMMIT; and.b32 %r7, %r6, 1; "
                      "mad.lo.u32 %r8, %r7, 128, %r2; mul.wide.u32 %d3, %r6, 128; add.u64 %d3, %d3, %d2; "
                      "cp.async.ca.shared.global [%r8], [%d3], 4;\n"
                      "COMMIT: cp.async.commit_group; cp.async.wait_group 1; bar.sync 0; and.b32 %r7, %r4, 1; "
                      "mad.lo.u32 %r8, %r7, 128, %r3; ld.shared.u32 %r9, [%r8]; mad.lo.u32 %r5, %r5, 3, %r9; bar.sync "
                      "0; mov.u32 %r4, %r6; setp.lt.u32 %p2, %r4, 8; @%p2 bra LOOP;\n"
                      "add.u64 %d4, %ptr1, %d1; st.global.u32 [%d4], %r5;",
                      2));
      std::vector<uint32_t> values(256), expected(32);
      for (uint32_t i = 0; i < 256; ++i) values[i] = i * i + 1;
      for (uint32_t lane = 0; lane < 32; ++lane) {
        for (uint32_t tile = 0; tile < 8; ++tile) expected[lane] = expected[lane] * 3 + values[tile * 32 + (lane ^ 31)];
      }
      const uint64_t source = bench.upload(values), out = bench.zeros<uint32_t>(32);
      LaunchOptions options = one_cta();
      options.copy_timing = timing;
      options.seed = seed;
      bench.launch({source, out}, options);
      CHECK(bench.download<uint32_t>(out, 32) == expected);
    }
  }
}

TEST_CASE("a copy outside of its spaces, or misaligned, is an error", "[ptx][async]") {
  const auto copy = [](const std::string& prepare, const std::string& size) {
    return [=] {
      Bench bench(kernel_text(".shared .align 16 .b8 box[64]; mov.u32 %r1, box; " + prepare +
                                  " cp.async.ca.shared.global [%r1], [%ptr0], " + size + "; cp.async.wait_all;",
                              1));
      bench.launch({bench.zeros<uint32_t>(8, "tokens")}, one_cta(1));
    };
  };
  CHECK(message_of(Fault::out_of_bounds, copy("add.u64 %ptr0, %ptr0, 32;", "16")).find("tokens") != std::string::npos);
  CHECK(message_of(Fault::out_of_bounds, copy("add.u64 %ptr0, %ptr0, 32;", "4, 1")).find("cp.async") !=
        std::string::npos);
  CHECK(message_of(Fault::out_of_bounds, copy("add.u32 %r1, %r1, 64;", "16")).find("cp.async") != std::string::npos);
  CHECK(message_of(Fault::misaligned, copy("add.u32 %r1, %r1, 4;", "8")).find("cp.async") != std::string::npos);
  CHECK(message_of(Fault::misaligned, copy("add.u64 %ptr0, %ptr0, 8;", "16")).find("cp.async") != std::string::npos);
}

}  // namespace librt::ptx::test
