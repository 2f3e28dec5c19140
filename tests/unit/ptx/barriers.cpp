// CTA barriers: plain, named, counted, arriving and reducing, and what happens when they cannot be met.
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t;

/// Every thread puts its number into shared memory, meets the others at `barrier`, and reads its mirror image's.
std::vector<uint32_t> mirror(const std::string& barrier, uint32_t threads) {
  Bench bench(kernel_text(
      ".shared .align 4 .b32 box[1024]; mov.u32 %r1, box; shl.b32 %r2, %tx, 2; add.u32 %r3, %r1, %r2; add.u32 %r4, "
      "%tx, 100; st.shared.u32 [%r3], %r4;\n" +
          barrier +
          "\nsub.u32 %r5, %threads, 1; sub.u32 %r5, %r5, %tx; shl.b32 %r5, %r5, 2; add.u32 %r5, %r1, %r5; "
          "ld.shared.u32 %r6, [%r5]; mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %ptr0, %d1; st.global.u32 [%d1], %r6;",
      1));
  const std::uint64_t out = bench.zeros<uint32_t>(threads);
  bench.launch({out}, one_cta(threads));
  return bench.download<uint32_t>(out, threads);
}

LaunchOptions limited(uint32_t threads) {
  LaunchOptions options = one_cta(threads);
  options.max_warp_instructions = 100000;
  return options;
}

}  // namespace

TEST_CASE("every form of a full barrier orders shared memory between warps", "[ptx][barrier]") {
  for (const std::string barrier :
       {"bar.sync 0;", "bar.sync 5;", "barrier.sync 0;", "bar.cta.sync 3;", "barrier.cta.sync 2;",
        "barrier.sync.aligned 1;", "mov.u32 %r9, 4; bar.sync %r9;", "mov.u32 %r9, 4; bar.sync %r9, %threads;"}) {
    for (const uint32_t threads : {32U, 96U, 256U, 1024U}) {
      INFO(barrier << " with " << threads << " threads");
      const std::vector<uint32_t> values = mirror(barrier, threads);
      for (uint32_t i = 0; i < threads; ++i) REQUIRE(values[i] == 100 + threads - 1 - i);
    }
  }
}

TEST_CASE("a barrier holds for a block that does not fill its last warp", "[ptx][barrier]") {
  const std::vector<uint32_t> values = mirror("bar.sync 0;", 75);
  for (uint32_t i = 0; i < 75; ++i) REQUIRE(values[i] == 174 - i);
}

TEST_CASE("a barrier in a loop releases once per round", "[ptx][barrier]") {
  // Each round every thread adds its neighbour's value: a missed or doubled release gives other sums.
  constexpr uint32_t kThreads = 128, kRounds = 10;
  Bench bench(kernel_text(
      ".shared .align 4 .b32 box[128]; mov.u32 %r1, box; shl.b32 %r2, %tx, 2; add.u32 %r3, %r1, %r2; add.u32 %r4, %tx, "
      "1; and.b32 %r4, %r4, 127; shl.b32 %r4, %r4, 2; add.u32 %r4, %r1, %r4; mov.u32 %r5, %tx; mov.u32 %r6, 0;\n"
      "ROUND: st.shared.u32 [%r3], %r5; bar.sync 0; ld.shared.u32 %r7, [%r4]; add.u32 %r5, %r5, %r7; bar.sync 0; "
      "add.u32 %r6, %r6, 1; setp.lt.u32 %p1, %r6, 10; @%p1 bra ROUND;\n"
      "mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %ptr0, %d1; st.global.u32 [%d1], %r5;",
      1));
  const std::uint64_t out = bench.zeros<uint32_t>(kThreads);
  bench.launch({out}, one_cta(kThreads));
  std::vector<uint32_t> expected(kThreads);
  for (uint32_t i = 0; i < kThreads; ++i) expected[i] = i;
  for (uint32_t round = 0; round < kRounds; ++round) {
    std::vector<uint32_t> next(kThreads);
    for (uint32_t i = 0; i < kThreads; ++i) next[i] = expected[i] + expected[(i + 1) % kThreads];
    expected = next;
  }
  CHECK(bench.download<uint32_t>(out, kThreads) == expected);
}

TEST_CASE("producers arrive at a named barrier, consumers wait at it", "[ptx][barrier]") {
  // Warp 1 writes and arrives without waiting, warp 0 waits: 64 threads take part. Warps 2 and 3 use another barrier.
  Bench bench(
      kernel_text(".shared .align 4 .b32 box[64]; mov.u32 %r1, box; and.b32 %r2, %tx, 31; shl.b32 %r2, %r2, 2; add.u32 "
                  "%r2, %r1, %r2; mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %ptr0, %d1; shr.u32 %r3, %tx, 5; setp.gt.u32 "
                  "%p1, %r3, 1; @%p1 bra PAIR; setp.eq.u32 %p2, %r3, 1; @%p2 bra PRODUCE;\n"
                  "bar.sync 1, 64; ld.shared.u32 %r4, [%r2]; st.global.u32 [%d1], %r4; bra DONE;\n"
                  "PRODUCE: add.u32 %r4, %tx, 500; st.shared.u32 [%r2], %r4; bar.arrive 1, 64; bra DONE;\n"
                  "PAIR: bar.sync 2, 64; st.global.u32 [%d1], %r3;\nDONE:",
                  1));
  const std::uint64_t out = bench.zeros<uint32_t>(128);
  bench.launch({out}, limited(128));
  const auto values = bench.download<uint32_t>(out, 128);
  for (uint32_t i = 0; i < 128; ++i) REQUIRE(values[i] == (i < 32 ? 532 + i : i < 64 ? 0 : i / 32));
}

TEST_CASE("bar.red reduces a predicate over the CTA", "[ptx][barrier]") {
  for (const uint32_t set : {0U, 1U, 40U, 64U}) {
    Bench bench(
        kernel_text("setp.lt.u32 %p1, %tx, " + std::to_string(set) +
                        "; bar.red.popc.u32 %r1, 0, %p1; bar.red.and.pred %p2, 0, %p1; bar.red.or.pred %p3, 0, %p1; "
                        "bar.red.popc.u32 %r4, 1, %threads, !%p1; selp.u32 %r2, 1000, 0, %p2; selp.u32 %r3, 10000, 0, "
                        "%p3; add.u32 %r1, %r1, %r2; add.u32 %r1, %r1, %r3; mad.lo.u32 %r1, %r4, 100000, %r1; "
                        "mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %ptr0, %d1; st.global.u32 [%d1], %r1;",
                    1));
    const std::uint64_t out = bench.zeros<uint32_t>(64);
    bench.launch({out}, one_cta(64));
    const uint32_t expected = set + (set == 64 ? 1000 : 0) + (set > 0 ? 10000 : 0) + (64 - set) * 100000;
    CHECK(bench.download<uint32_t>(out, 64) == std::vector<uint32_t>(64, expected));
  }
}

TEST_CASE("a barrier waits for a slow warp", "[ptx][barrier]") {
  Bench bench(kernel_text(
      ".shared .u32 cell; setp.lt.u32 %p1, %tx, 32; @%p1 bra MEET; mov.u32 %r1, 0;\nLOOP: add.u32 %r1, %r1, 1; "
      "setp.lt.u32 %p2, %r1, 5000; @%p2 bra LOOP; st.shared.u32 [cell], %r1;\nMEET: bar.sync 0; ld.shared.u32 %r2, "
      "[cell]; mul.wide.u32 %d1, %tx, 4; add.u64 %d1, %ptr0, %d1; st.global.u32 [%d1], %r2;",
      1));
  const std::uint64_t out = bench.zeros<uint32_t>(64);
  bench.launch({out}, one_cta(64));
  CHECK(bench.download<uint32_t>(out, 64) == std::vector<uint32_t>(64, 5000));
}

TEST_CASE("warps that have ended are not waited for", "[ptx][barrier]") {
  Bench bench(kernel_text("setp.ge.u32 %p1, %tx, 32; @%p1 ret; bar.sync 0; st.global.u32 [%ptr0], 3;", 1));
  const std::uint64_t out = bench.zeros<uint32_t>(1);
  bench.launch({out}, limited(96));
  CHECK(bench.download<uint32_t>(out, 1)[0] == 3);
}

TEST_CASE("a non-aligned barrier counts lanes of a diverged warp", "[ptx][barrier]") {
  Bench bench(
      kernel_text(".shared .u32 cell; setp.lt.u32 %p1, %tx, 16; @%p1 bra LOW; st.shared.u32 [cell], 8; barrier.sync 0; "
                  "bra DONE;\nLOW: barrier.sync 0; ld.shared.u32 %r1, [cell]; mul.wide.u32 %d1, %tx, 4; add.u64 %d1, "
                  "%ptr0, %d1; st.global.u32 [%d1], %r1;\nDONE:",
                  1));
  const std::uint64_t out = bench.zeros<uint32_t>(16);
  bench.launch({out}, limited(32));
  CHECK(bench.download<uint32_t>(out, 16) == std::vector<uint32_t>(16, 8));
}

TEST_CASE("a barrier that nobody can complete is reported as a deadlock", "[ptx][barrier]") {
  const auto deadlock = [](const std::string& code, uint32_t threads) {
    return message_of(Fault::deadlock, [&] { Bench(kernel_text(code, 0)).launch({}, limited(threads)); });
  };
  const std::string counted = deadlock("bar.sync 1, 64;", 32);
  CHECK(counted.find("bar.sync") != std::string::npos);
  deadlock("setp.lt.u32 %p1, %tx, 32; @%p1 bra A; bar.sync 1; bra E;\nA: bar.sync 2;\nE:", 64);
  deadlock("setp.lt.u32 %p1, %tx, 32; @%p1 bra A; bar.sync 3, 96; bra E;\nA: bar.arrive 3, 96;\nE:", 64);
}

TEST_CASE("a misused barrier is an error", "[ptx][barrier]") {
  const auto misuse = [](const std::string& code, uint32_t threads) {
    INFO(code);
    message_of(Fault::illegal_sync, [&] { Bench(kernel_text(code, 0)).launch({}, limited(threads)); });
  };
  misuse("mov.u32 %r1, 16; bar.sync %r1;", 32);
  misuse("mov.u32 %r1, 33; bar.sync 0, %r1;", 64);
  // The two halves of a warp wait at different barriers that are declared as aligned.
  misuse("setp.lt.u32 %p1, %tx, 16; @%p1 bra A; bar.sync 1; bra E;\nA: bar.sync 2;\nE:", 32);
  // Two warps disagree on how many threads take part.
  misuse("setp.lt.u32 %p1, %tx, 32; @%p1 bra A; bar.sync 1, 96; bra E;\nA: bar.sync 1, 128;\nE:", 64);
}

}  // namespace librt::ptx::test
