// Special registers, over grids and blocks of three dimensions.
#include <set>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t;

struct Place {
  uint32_t values[16];
};

}  // namespace

TEST_CASE("thread and block indices of a three-dimensional launch", "[ptx][special]") {
  const std::string names[] = {"tid.x",  "tid.y",    "tid.z",    "ctaid.x",  "ctaid.y", "ctaid.z", "ntid.x", "ntid.y",
                               "ntid.z", "nctaid.x", "nctaid.y", "nctaid.z", "laneid",  "warpid",  "nwarpid"};
  // The linear index is worked out by the kernel from the three, x fastest.
  std::string body =
      "mov.u32 %r1, %tid.x; mov.u32 %r2, %tid.y; mov.u32 %r3, %tid.z; mad.lo.u32 %r4, %r3, 3, %r2; mad.lo.u32 %r4, "
      "%r4, 5, %r1; mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mov.u32 %r3, %ctaid.z; mad.lo.u32 %r5, %r3, 3, %r2; "
      "mad.lo.u32 %r5, %r5, 2, %r1;\n"
      "mad.lo.u32 %r4, %r5, 60, %r4; mul.wide.u32 %d1, %r4, 64; add.u64 %d1, %ptr0, %d1;\n";
  for (std::size_t i = 0; i < std::size(names); ++i)
    body += "mov.u32 %r6, %" + names[i] + "; st.global.u32 [%d1+" + std::to_string(4 * i) + "], %r6;\n";
  for (const unsigned threads : {1U, 4U}) {
    Bench bench(kernel_text(body, 1));
    const std::uint64_t out = bench.zeros<Place>(24 * 60);
    LaunchOptions options;
    options.grid = {2, 3, 4};
    options.block = {5, 3, 4};
    options.threads = threads;
    const LaunchStats stats = bench.launch({out}, options);
    CHECK(stats.ctas == 24);
    const auto places = bench.download<Place>(out, 24 * 60);
    std::size_t i = 0;
    for (uint32_t cz = 0; cz < 4; ++cz) {
      for (uint32_t cy = 0; cy < 3; ++cy) {
        for (uint32_t cx = 0; cx < 2; ++cx) {
          for (uint32_t linear = 0; linear < 60; ++linear) {
            const uint32_t expected[16] = {linear % 5, linear / 5 % 3, linear / 15, cx, cy, cz, 5, 3, 4, 2, 3,
                                           4,          linear % 32,    linear / 32, 2};
            REQUIRE(std::equal(expected, expected + 15, places[i++].values));
          }
        }
      }
    }
  }
}

TEST_CASE("lane masks", "[ptx][special]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const Word eq = Word{1} << lane, lt = eq - 1, all = 0xffffffff;
    examples.push_back({{}, {eq, lt, lt | eq, all & ~(lt | eq), all & ~lt, lane}});
  }
  check_form({"mov.u32 %o0, %lanemask_eq; mov.u32 %o1, %lanemask_lt; mov.u32 %o2, %lanemask_le; mov.u32 %o3, "
              "%lanemask_gt; mov.u32 %o4, %lanemask_ge; mov.u32 %o5, %laneid;",
              "", "rrrrrr"},
             examples);
}

TEST_CASE("special registers are sources of mov and cvt", "[ptx][special]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{}, {lane * 2 + 1, lane + 32}});
  check_form({"cvt.u32.u32 %o0, %tid.x; mad.lo.u32 %o0, %o0, 2, 1; mov.u32 %o1, %laneid; add.u32 %o1, %o1, WARP_SZ;",
              "", "rr"},
             examples);
  check_form({"cvt.u64.u32 %o0, %ntid.x;", "", "d"}, {{{}, {32}}});
}

TEST_CASE("clocks do not run backwards", "[ptx][special]") {
  const std::vector<Words> results = run_lanes({"mov.u64 %o0, %clock64; mov.u64 %o1, %clock64; mov.u64 %o2, "
                                                "%globaltimer; mov.u32 %r1, %clock; mov.u64 %o3, %globaltimer;",
                                                "", "dddd"},
                                               std::vector<Words>(1));
  CHECK(results[0][1] >= results[0][0]);
  CHECK(results[0][3] >= results[0][2]);
}

TEST_CASE("an SM number and the size of shared memory are given", "[ptx][special]") {
  check_form({".shared .b8 box[100]; st.shared.u8 [box], 1; mov.u32 %r1, %smid; mov.u32 %r2, %nsmid; setp.lt.u32 %o0, "
              "%r1, %r2; mov.u32 %r3, %total_smem_size; setp.ge.u32 %o1, %r3, 100;",
              "", "pp"},
             {{{}, {1, 1}}});
}

TEST_CASE("environment registers hold what the launch gives them", "[ptx][special]") {
  Bench bench(kernel_text(
      "mov.b32 %r1, %envreg0; mov.u32 %r2, %envreg31; mov.u32 %r3, %envreg1; mov.u32 %r4, %envreg2; mov.b64 %d1, {%r3, "
      "%r4}; st.global.v2.u32 [%ptr0], {%r1, %r2}; st.global.u64 [%ptr0+8], %d1;",
      1));
  const std::uint64_t out = bench.zeros<std::uint64_t>(2);
  LaunchOptions options = one_cta(1);
  bench.launch({out}, options);
  CHECK(bench.download<std::uint64_t>(out, 2) == std::vector<std::uint64_t>{0, 0});
  options.environment[0] = 7;
  options.environment[31] = 9;
  options.environment[1] = 0x89abcdef;
  options.environment[2] = 0x01234567;
  bench.launch({out}, options);
  CHECK(bench.download<std::uint64_t>(out, 2) == std::vector<std::uint64_t>{0x900000007, 0x0123456789abcdef});
  for (const std::string name : {"%envreg32", "%envreg", "%envreg01", "%envreg1x", "%envreg-1"})
    message_of(Fault::syntax, [&] { Module::parse(kernel_text("mov.u32 %r1, " + name + ";", 0)); });
  check_refused("mov.u64 %d1, %envreg1;", "32 bits", Fault::syntax);
}

}  // namespace librt::ptx::test
