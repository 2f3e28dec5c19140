// The same bits for any number of host threads, and what a launch counts.
#include <thread>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t, std::uint64_t;

/// Every CTA sums products of its slice in shared memory by a tree, with copies in flight, and writes 64 floats.
const std::string kReduce =
    ".shared .align 16 .b8 box[1024]; mov.u32 %r1, box; shl.b32 %r2, %tx, 2; add.u32 %r2, %r2, %r1; mul.wide.u32 %d1, "
    "%index, 4; add.u64 %d2, %ptr0, %d1; cp.async.ca.shared.global [%r2], [%d2], 4; cp.async.wait_all; bar.sync 0; "
    "mov.u32 %r3, 64;\n"
    "LOOP: setp.ge.u32 %p1, %tx, %r3; @%p1 bra SKIP; shl.b32 %r4, %r3, 2; add.u32 %r4, %r4, %r2; ld.shared.f32 %f1, "
    "[%r2]; ld.shared.f32 %f2, [%r4]; fma.rn.f32 %f1, %f2, 0f3F7FFF00, %f1; st.shared.f32 [%r2], %f1;\n"
    "SKIP: bar.sync 0; shr.u32 %r3, %r3, 1; setp.ne.u32 %p2, %r3, 0; @%p2 bra LOOP; ld.shared.f32 %f3, [box]; "
    "ld.shared.f32 %f4, [%r2]; ex2.approx.ftz.f32 %f4, %f4; div.rn.f32 %f3, %f3, %f4; add.u64 %d3, %ptr1, %d1; "
    "st.global.f32 [%d3], %f3;";

struct Outcome {
  std::vector<uint32_t> bits;
  LaunchStats stats;
};

Outcome reduce(unsigned threads, CopyTiming timing, uint64_t seed) {
  constexpr uint32_t kCount = 40 * 128;
  Bench bench(kernel_text(kReduce, 2));
  std::vector<float> values(kCount);
  for (uint32_t i = 0; i < kCount; ++i) values[i] = static_cast<float>(i * 2654435761U % 1000) * 0.013F - 6.0F;
  const uint64_t in = bench.upload(values), out = bench.zeros<uint32_t>(kCount);
  LaunchOptions options = one_cta(128);
  options.grid = {40, 1, 1};
  options.threads = threads;
  options.copy_timing = timing;
  options.seed = seed;
  const LaunchStats stats = bench.launch({in, out}, options);
  return {bench.download<uint32_t>(out, kCount), stats};
}

}  // namespace

TEST_CASE("the bits and the counts do not depend on the number of threads", "[ptx][determinism]") {
  const Outcome reference = reduce(1, CopyTiming::late, 0);
  CHECK(reference.stats.ctas == 40);
  for (const unsigned threads : {1U, 2U, 5U, 64U}) {
    for (const CopyTiming timing : {CopyTiming::late, CopyTiming::early, CopyTiming::random}) {
      const Outcome other = reduce(threads, timing, threads);
      INFO(threads << " threads");
      CHECK(other.bits == reference.bits);
      CHECK(other.stats.ctas == reference.stats.ctas);
      CHECK(other.stats.warp_instructions == reference.stats.warp_instructions);
    }
  }
}

TEST_CASE("random copies of a racy kernel depend on the seed, not on the threads", "[ptx][determinism]") {
  // Without its wait the kernel reads what has arrived so far.
  Bench bench(
      kernel_text(".shared .align 4 .b32 cell; mov.u32 %r1, cell; st.shared.u32 [%r1], 0; cp.async.ca.shared.global "
                  "[%r1], [%ptr0], 4; cp.async.commit_group; ld.shared.u32 %r2, [%r1]; mul.wide.u32 %d1, %cta, 4; "
                  "add.u64 %d1, %ptr1, %d1; st.global.u32 [%d1], %r2;",
                  2));
  const uint64_t in = bench.upload(std::vector<uint32_t>{1});
  const auto run = [&](unsigned threads, uint64_t seed) {
    const uint64_t out = bench.zeros<uint32_t>(64);
    LaunchOptions options = one_cta(1);
    options.grid = {64, 1, 1};
    options.threads = threads;
    options.copy_timing = CopyTiming::random;
    options.seed = seed;
    bench.launch({in, out}, options);
    return bench.download<uint32_t>(out, 64);
  };
  const auto first = run(1, 1);
  CHECK(run(2, 1) == first);
  CHECK(run(5, 1) == first);
  CHECK(run(1, 2) != first);
}

TEST_CASE("statistics count warp instructions and CTAs", "[ptx][determinism]") {
  const auto count = [](const std::string& body, uint32_t lanes, uint32_t ctas) {
    Bench bench(kernel_text(body, 0));
    LaunchOptions options = one_cta(lanes);
    options.grid = {ctas, 1, 1};
    const LaunchStats stats = bench.launch({}, options);
    CHECK(stats.ctas == ctas);
    return stats.warp_instructions;
  };
  const uint64_t base = count("", 32, 1);
  CHECK(base > 0);
  CHECK(count("mov.u32 %r1, 1; mov.u32 %r2, 2;", 32, 1) == base + 2);
  CHECK(count("mov.u32 %r1, 1;", 1, 1) == base + 1);
  CHECK(count("mov.u32 %r1, 1;", 64, 3) == 6 * (base + 1));
  // 10 rounds of three instructions behind one.
  CHECK(count("mov.u32 %r1, 0;\nL: add.u32 %r1, %r1, 1; setp.lt.u32 %p1, %r1, 10; @%p1 bra L;", 32, 1) == base + 31);
}

TEST_CASE("the instruction limit lets a kernel of just that length pass", "[ptx][determinism]") {
  const auto run = [](uint64_t limit, unsigned threads) {
    Bench bench(kernel_text("mov.u32 %r1, 1;", 0));
    LaunchOptions options = one_cta(64);
    options.grid = {8, 1, 1};
    options.threads = threads;
    options.max_warp_instructions = limit;
    return bench.launch({}, options).warp_instructions;
  };
  const uint64_t needed = run(uint64_t{1} << 30, 1);
  CHECK(run(needed, 1) == needed);
  message_of(Fault::instruction_limit, [&] { run(needed / 2, 1); });
  message_of(Fault::instruction_limit, [&] { run(needed / 2, 4); });
}

TEST_CASE("modules are shared by concurrent launches", "[ptx][determinism]") {
  const Module module =
      Module::parse(kernel_text("mul.wide.u32 %d1, %index, 4; add.u64 %d2, %ptr0, %d1; ld.global.u32 %r1, [%d2]; "
                                "mad.lo.u32 %r1, %r1, 3, %index; st.global.u32 [%d2], %r1;",
                                1));
  constexpr uint32_t kLaunchers = 4, kCount = 1024;
  std::vector<std::vector<uint32_t>> results(kLaunchers);
  std::vector<std::thread> launchers;
  for (uint32_t k = 0; k < kLaunchers; ++k) {
    launchers.emplace_back([&, k] {
      Memory memory;
      std::vector<uint32_t> values(kCount, k);
      const uint64_t buffer = memory.allocate(kCount * 4, "values");
      memory.write(buffer, std::as_bytes(std::span(values)));
      LaunchOptions options = one_cta(64);
      options.grid = {kCount / 64, 1, 1};
      options.threads = 2;
      launch(module, memory, "test", std::as_bytes(std::span(&buffer, 1)), options);
      memory.read(buffer, std::as_writable_bytes(std::span(values)));
      results[k] = values;
    });
  }
  for (std::thread& launcher : launchers) launcher.join();
  for (uint32_t k = 0; k < kLaunchers; ++k) {
    for (uint32_t i = 0; i < kCount; ++i) REQUIRE(results[k][i] == k * 3 + i);
  }
}

}  // namespace librt::ptx::test
