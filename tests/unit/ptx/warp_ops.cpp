// Operations between the lanes of a warp: shuffles, votes, matches, reductions, and their member masks.
#include <algorithm>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t;

struct Shuffled {
  uint32_t source;
  bool in_range;
};

/// The ISA's pseudo code for one lane of shfl.
Shuffled shuffle(const std::string& mode, uint32_t lane, uint32_t b, uint32_t c) {
  const int bval = static_cast<int>(b & 31), cval = static_cast<int>(c & 31), segment = static_cast<int>((c >> 8) & 31);
  const int self = static_cast<int>(lane);
  const int max_lane = (self & segment) | (cval & ~segment & 31), min_lane = self & segment;
  int source = 0;
  bool in_range = false;
  if (mode == "up") {
    source = self - bval;
    in_range = source >= max_lane;
  } else if (mode == "down") {
    source = self + bval;
    in_range = source <= max_lane;
  } else if (mode == "bfly") {
    source = self ^ bval;
    in_range = source <= max_lane;
  } else {
    source = min_lane | (bval & ~segment);
    in_range = source <= max_lane;
  }
  return {static_cast<uint32_t>(in_range ? source : self), in_range};
}

Word value_of(uint32_t lane) {
  return 1000 + lane * lane;
}

Words words_where(const std::vector<bool>& lanes) {
  Words words;
  for (const bool lane : lanes) words.push_back(bits(lane));
  return words;
}

}  // namespace

TEST_CASE("shfl moves values in every mode, width and distance", "[ptx][warp]") {
  for (const std::string mode : {"up", "down", "bfly", "idx"}) {
    std::vector<Example> examples;  // one warp for each segment, clamp and distance
    for (const uint32_t segment : {0U, 0x10U, 0x18U, 0x1cU, 0x1eU, 0x1fU}) {
      for (const uint32_t clamp : {0U, 31U, 13U}) {
        for (const uint32_t distance : {0U, 1U, 2U, 5U, 16U, 31U, 33U}) {
          const uint32_t c = segment << 8 | clamp;
          for (uint32_t lane = 0; lane < 32; ++lane) {
            const Shuffled expected = shuffle(mode, lane, distance, c);
            examples.push_back({{value_of(lane), distance, c}, {value_of(expected.source), bits(expected.in_range)}});
          }
        }
      }
    }
    check_form({"shfl.sync." + mode + ".b32 %o0|%o1, %i0, %i1, %i2, 0xffffffff;", "rrr", "rp"}, examples);
  }
}

TEST_CASE("shfl by hand", "[ptx][warp]") {
  const auto expect = [](const std::string& operation, auto&& source) {
    std::vector<Example> examples;
    for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{value_of(lane)}, {value_of(source(lane))}});
    check_form({operation, "r", "r"}, examples);
  };
  expect("shfl.sync.bfly.b32 %o0, %i0, 16, 31, -1;", [](uint32_t lane) { return lane ^ 16; });
  expect("shfl.sync.down.b32 %o0, %i0, 4, 31, -1;", [](uint32_t lane) { return lane + 4 < 32 ? lane + 4 : lane; });
  expect("shfl.sync.up.b32 %o0, %i0, 1, 0, -1;", [](uint32_t lane) { return lane == 0 ? 0 : lane - 1; });
  expect("shfl.sync.idx.b32 %o0, %i0, 7, 31, -1;", [](uint32_t) { return 7U; });
  // Groups of four: what CUDA writes as width 4.
  expect("shfl.sync.idx.b32 %o0, %i0, 1, 0x1c1f, -1;", [](uint32_t lane) { return lane / 4 * 4 + 1; });
}

TEST_CASE("shfl takes the lane to read from a register and may write its own source", "[ptx][warp]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane)
    examples.push_back({{value_of(lane), (lane * 5 + 3) % 32}, {value_of((lane * 5 + 3) % 32)}});
  check_form({"mov.b32 %r5, %i0; shfl.sync.idx.b32 %r5, %r5, %i1, 31, -1; mov.b32 %o0, %r5;", "rr", "r"}, examples);
}

TEST_CASE("shfl among the members of a mask only", "[ptx][warp]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane)
    examples.push_back({{value_of(lane)}, {lane < 16 ? value_of(lane ^ 1) : value_of(lane ^ 2)}});
  check_form({"setp.lt.u32 %p1, %lane, 16; @%p1 bra LOW; shfl.sync.bfly.b32 %o0, %i0, 2, 31, 0xffff0000; bra DONE;\n"
              "LOW: shfl.sync.bfly.b32 %o0, %i0, 1, 31, 0x0000ffff;\nDONE:",
              "r", "r"},
             examples);
}

TEST_CASE("votes", "[ptx][warp]") {
  const auto expect = [](const std::vector<bool>& lanes) {
    const bool all = std::all_of(lanes.begin(), lanes.end(), [](bool b) { return b; });
    const bool any = std::any_of(lanes.begin(), lanes.end(), [](bool b) { return b; });
    Word ballot = 0;
    for (std::size_t i = 0; i < 32; ++i) ballot |= Word{lanes[i]} << i;
    std::vector<Example> truths, ballots;
    for (const Word in : words_where(lanes)) {
      truths.push_back({{in}, {bits(all), bits(any), bits(all || !any), bits(!any)}});
      ballots.push_back({{in}, {ballot, ballot ^ 0xffffffff}});
    }
    check_form({"vote.sync.all.pred %o0, %i0, -1; vote.sync.any.pred %o1, %i0, -1; vote.sync.uni.pred %o2, %i0, -1; "
                "vote.sync.all.pred %o3, !%i0, -1;",
                "p", "pppp"},
               truths);
    check_form({"vote.sync.ballot.b32 %o0, %i0, 0xffffffff; vote.sync.ballot.b32 %o1, !%i0, 0xffffffff;", "p", "rr"},
               ballots);
  };
  std::vector<bool> lanes(32);
  expect(lanes);
  lanes[5] = true;
  expect(lanes);
  lanes[31] = true;
  expect(lanes);
  lanes.assign(32, true);
  expect(lanes);
  lanes[0] = false;
  expect(lanes);
}

TEST_CASE("a vote counts the members of its mask only", "[ptx][warp]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane)
    examples.push_back({{lane < 8 || lane == 20}, {lane < 8 ? 0xffU : 0x00100000U}});
  check_form({"setp.lt.u32 %p1, %lane, 8; @!%p1 bra HIGH; vote.sync.ballot.b32 %o0, %i0, 0xff; bra DONE;\n"
              "HIGH: vote.sync.ballot.b32 %o0, %i0, 0xffffff00;\nDONE:",
              "p", "r"},
             examples);
}

TEST_CASE("activemask names the lanes that are together", "[ptx][warp]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{}, {0xffffffff, lane % 3 == 0 ? 0x49249249U : 0U}});
  check_form({"activemask.b32 %o0; mov.b32 %o1, 0; rem.u32 %r1, %lane, 3; setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; "
              "activemask.b32 %o1;\nDONE:",
              "", "rr"},
             examples);
}

TEST_CASE("match finds equal values", "[ptx][warp]") {
  std::vector<Example> any32, any64, all;
  const auto key = [](uint32_t lane) { return Word{lane % 5 == 0 ? 7U : lane / 8}; };
  for (uint32_t lane = 0; lane < 32; ++lane) {
    Word mask = 0;
    for (uint32_t other = 0; other < 32; ++other) mask |= Word{key(other) == key(lane)} << other;
    any32.push_back({{key(lane)}, {mask}});
    any64.push_back({{key(lane) << 32 | 5}, {mask}});
    all.push_back({{key(lane), 9}, {0, 0, 0xffffffff, 1}});
  }
  check_form({"match.any.sync.b32 %o0, %i0, 0xffffffff;", "r", "r"}, any32);
  check_form({"match.any.sync.b64 %o0, %i0, 0xffffffff;", "d", "r"}, any64);
  check_form(
      {"match.all.sync.b32 %o0|%o1, %i0, 0xffffffff; match.all.sync.b32 %o2|%o3, %i1, 0xffffffff;", "rr", "rprp"}, all);
}

TEST_CASE("redux reduces over the members", "[ptx][warp]") {
  const auto value = [](uint32_t lane) { return lane == 3 ? 0xfffffff0U : lane * 0x01000193U; };
  uint32_t sum = 0, all = ~0U, any = 0, odd = 0, low = ~0U, high = 0;
  std::int32_t signed_low = INT32_MAX, signed_high = INT32_MIN;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t v = value(lane);
    sum += v;
    all &= v | 0x80;
    any |= v;
    odd ^= v;
    low = std::min(low, v);
    high = std::max(high, v);
    signed_low = std::min(signed_low, static_cast<std::int32_t>(v));
    signed_high = std::max(signed_high, static_cast<std::int32_t>(v));
  }
  const auto expect = [&](const std::string& operation, Word expected, uint32_t ored = 0) {
    std::vector<Example> examples;
    for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{value(lane) | ored}, {expected}});
    check_form({"redux.sync." + operation + " %o0, %i0, 0xffffffff;", "r", "r"}, examples);
  };
  expect("add.u32", sum);
  expect("add.s32", sum);
  expect("min.u32", low);
  expect("max.u32", high);
  expect("min.s32", bits(signed_low));
  expect("max.s32", bits(signed_high));
  expect("and.b32", all, 0x80);
  expect("or.b32", any);
  expect("xor.b32", odd);
}

TEST_CASE("elect chooses one lane and tells all", "[ptx][warp]") {
  const std::vector<Words> results = run_lanes({"elect.sync %o0|%o1, 0xffffffff;", "", "rp"}, std::vector<Words>(32));
  const Word leader = results[0][0];
  REQUIRE(leader < 32);
  for (uint32_t lane = 0; lane < 32; ++lane) CHECK(results[lane] == Words{leader, bits(lane == leader)});
}

TEST_CASE("members that take different paths meet at the operation", "[ptx][warp]") {
  // Odd lanes loop for a while first; the shuffle must still see every lane's final value.
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const auto final_value = [](uint32_t l) { return Word{l % 2 == 1 ? 100 + l * 3 : 100}; };
    examples.push_back({{lane}, {final_value(lane ^ 1)}});
  }
  check_form({"mov.b32 %r5, 100; and.b32 %r6, %i0, 1; setp.eq.u32 %p1, %r6, 0; @%p1 bra MEET; mov.u32 %r7, 0;\n"
              "AGAIN: add.u32 %r5, %r5, 3; add.u32 %r7, %r7, 1; setp.lt.u32 %p2, %r7, %i0; @%p2 bra AGAIN;\n"
              "MEET: shfl.sync.bfly.b32 %o0, %r5, 1, 31, -1;",
              "r", "r"},
             examples);
}

TEST_CASE("bar.warp.sync orders lanes through shared memory", "[ptx][warp]") {
  std::vector<Example> examples;
  for (uint32_t lane = 0; lane < 32; ++lane) examples.push_back({{value_of(lane)}, {value_of(31 - lane)}});
  check_form({".shared .align 4 .b32 box[32]; mov.u32 %r1, box; shl.b32 %r2, %lane, 2; add.u32 %r3, %r1, %r2; "
              "st.shared.b32 [%r3], %i0; bar.warp.sync 0xffffffff;\n"
              "xor.b32 %r2, %r2, 124; add.u32 %r3, %r1, %r2; ld.shared.b32 %o0, [%r3];",
              "r", "r"},
             examples);
}

TEST_CASE("a mask that the executing lanes contradict is an error", "[ptx][warp]") {
  const auto run = [](const std::string& code) {
    Bench bench(kernel_text(code, 0));
    LaunchOptions options = one_cta();
    options.max_warp_instructions = 10000;
    bench.launch({}, options);
  };
  // Lane 1 executes an operation whose mask leaves it out.
  const std::string outside =
      message_of(Fault::illegal_sync, [&] { run("shfl.sync.idx.b32 %r1, %lane, 0, 31, 0x1;"); });
  CHECK(outside.find("shfl.sync.idx.b32") != std::string::npos);
  // Lane 31 is a member, but waits at another operation than the rest.
  CHECK_THROWS_AS(run("setp.eq.u32 %p1, %lane, 31; @%p1 bra OTHER; shfl.sync.idx.b32 %r1, %lane, 0, 31, -1; bra DONE;\n"
                      "OTHER: vote.sync.ballot.b32 %r1, %p1, -1;\nDONE:"),
                  MachineError);
}

}  // namespace librt::ptx::test
