// Labels between lanes and through memory, and the findings.
#include "tests/unit/ptx/taint_harness.hpp"

namespace librt::ptx::test {
namespace {

using Kinds = std::vector<std::string>;

/// All 32 lanes clean, but for `labels` in one.
Words only(std::size_t lane, Word labels) {
  Words words(32, 0);
  words[lane] = labels;
  return words;
}

TEST_CASE("A shuffle brings the labels of the lane that it reads", "[taint]") {
  const Tainted value{{7}, only(5, 0x04030201)};
  CHECK(track({"shfl.sync.bfly.b32 %o0, %i0, 1, 31, -1;", "r", "r"}, {value}).labels[0] == only(4, 0x04030201));
  const Tracked idx = track({"shfl.sync.idx.b32 %o0, %i0, 5, 31, -1;", "r", "r"}, {value});
  CHECK(idx.labels[0] == Words(32, 0x04030201));
  CHECK(idx.findings.empty());
  const Tracked up = track({"shfl.sync.up.b32 %o0|%o1, %i0, 2, 0, -1;", "r", "rp"}, {value});
  CHECK(up.labels[0] == only(7, 0x04030201));
  CHECK(up.labels[1] == Words(32, 0));
  const Tracked unknown = track({"shfl.sync.idx.b32 %o0, %i0, %i1, 31, -1;", "rr", "r"}, {value, {{1}, only(3, 0x10)}});
  CHECK(unknown.labels[0] == only(3, 0x17171717));
}

TEST_CASE("Votes and reductions unite lanes, unless a clean lane decides", "[taint]") {
  const Tainted one_labelled{{1}, only(9, 1)};
  CHECK(track({"vote.sync.all.pred %o0, %i0, -1;", "p", "p"}, {one_labelled}).labels[0] == Words(32, 1));
  CHECK(track({"vote.sync.any.pred %o0, %i0, -1;", "p", "p"}, {one_labelled}).labels[0] == Words(32, 0));
  CHECK(track({"vote.sync.ballot.b32 %o0, %i0, -1;", "p", "r"}, {one_labelled}).labels[0] == Words(32, 0x0100));
  CHECK(track({"redux.sync.add.s32 %o0, %i0, -1;", "r", "r"}, {one_labelled}).labels[0] == Words(32, 0x01010101));
  CHECK(track({"redux.sync.add.s32 %o0, %i0, -1;", "r", "r"}, {{{1}, {0}}}).labels[0] == Words(32, 0));
}

TEST_CASE("Of a matrix product, rows of A and columns of B have labels", "[taint]") {
  const std::string code =
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%o0, %o1, %o2, %o3}, {%i0, %i1, %i2, %i3}, {%i4, %i5}, "
      "{%r1, %r2, %r3, %r4};";
  const Form form{"mov.b32 %r1, 0; mov.b32 %r2, 0; mov.b32 %r3, 0; mov.b32 %r4, 0;\n" + code, "rrrrrr", "rrrr"};
  const Tainted clean{{0}, {0}};
  const Word all = 0x01010101;
  SECTION("an element of row 9 of A, which is zero") {
    // Row 9 = 8 + 1: the second register, lanes 4 to 7.
    const Tracked tracked = track(form, {clean, {{0}, only(6, 0x0100)}, clean, clean, clean, clean});
    Words row(32, 0);
    for (std::size_t lane = 4; lane < 8; ++lane) row[lane] = all;
    CHECK(tracked.labels == std::vector<Words>{Words(32, 0), Words(32, 0), row, row});
  }
  SECTION("an element of column 5 of B") {
    const Tracked tracked = track(form, {clean, clean, clean, clean, clean, {{0}, only(22, 0x01)}});
    Words column(32, 0);  // 5 = 2 * 2 + 1: the odd registers of lanes with lane % 4 == 2
    for (std::size_t lane = 2; lane < 32; lane += 4) column[lane] = all;
    CHECK(tracked.labels == std::vector<Words>{Words(32, 0), column, Words(32, 0), column});
  }
  SECTION("an accumulator keeps its own labels") {
    const Form in_place{
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%o0, %o1, %o2, %o3}, {%i0, %i1}, {%i2}, "
        "{%i3, %i3, %i3, %i3};",
        "rrrr", "rrrr"};
    const Words lane = only(3, all);
    CHECK(track(in_place, {clean, clean, clean, {{0}, only(3, 0x0100)}}).labels ==
          std::vector<Words>{lane, lane, lane, lane});
  }
}

const std::string kShared =
    ".shared .align 16 .b8 tile[512];\nmov.u32 %r10, tile;\nmad.lo.s32 %r11, %lane, 16, %r10;\n";

TEST_CASE("Shared memory starts labelled and is clean where clean bytes were stored", "[taint]") {
  CHECK(labels_after({kShared + "ld.shared.u32 %o0, [%r11];", "", "r"}, {}) == 0x01010101);
  CHECK(labels_after({kShared + "st.shared.u16 [%r11], 5; ld.shared.u32 %o0, [%r11];", "", "r"}, {}) == 0x01010000);
  CHECK(labels_after({kShared + "st.shared.u32 [%r11], %i0; ld.shared.u16 %o0, [%r11+2];", "r", "h"},
                     {{{1}, {0x08040201}}}) == 0x0804);
  CHECK(labels_after({kShared + "st.shared.u32 [%r11], %i0; ld.shared.s8 %o0, [%r11+1];", "r", "r"},
                     {{{1}, {0x08040201}}}) == 0x02020202);
  CHECK(labels_after({kShared + "st.shared.u32 [%r11], %i0; ld.shared.u8 %o0, [%r11+1];", "r", "r"},
                     {{{1}, {0x08040201}}}) == 0x02);
  CHECK(labels_after(
            {".local .b32 own[2];\nmov.u32 %r1, own;\nst.local.u32 [%r1+4], %i0; ld.local.u32 %o0, [%r1+4];", "r", "r"},
            {{{1}, {0x08040201}}}) == 0x08040201);
  CHECK(labels_after(
            {".local .b32 own[2];\nmov.u32 %r1, own;\nst.local.u32 [%r1+4], 2; ld.local.u32 %o0, [%r1];", "", "r"},
            {}) == 0x01010101);
}

TEST_CASE("Matrices keep the bytes of rows apart", "[taint]") {
  // Row r of the only matrix is what lane r stores.
  const std::string store = kShared +
                            "st.shared.v2.u64 [%r11], {%i0, %i1};\nbar.warp.sync -1;\nand.b32 %r12, %lane, 7;\n" +
                            "mad.lo.s32 %r13, %r12, 16, %r10;\n";
  const Tainted zero{{0}, {0}}, third{{0}, only(3, 0x00000000'00020000)};
  // Byte 2 of row 3: element 1, which lane 4 * 3 holds as its upper half.
  CHECK(
      track({store + "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o0}, [%r13];", "dd", "r"}, {third, zero}).labels[0] ==
      only(12, 0x00020000));
  // Transposed: row 1, element 3, which lane 4 * 1 + 1 holds as its upper half.
  CHECK(track({store + "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%o0}, [%r13];", "dd", "r"}, {third, zero})
            .labels[0] == only(5, 0x00020000));
}

TEST_CASE("A stored matrix comes back with its labels where they were", "[taint]") {
  const std::string store_and_load =
      kShared + "and.b32 %r12, %lane, 7;\nmad.lo.s32 %r13, %r12, 16, %r10;\n" +
      "stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%r13], {%i0};\nbar.warp.sync -1;\n" +
      "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%o0}, [%r13];\n" +
      "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%o1}, [%r13];";
  // Lane 12's upper half is element 1 of row 3; transposed, element 3 of row 1.
  const Tracked tracked = track({store_and_load, "r", "rr"}, {{{0}, only(12, 0x02000000)}});
  CHECK(tracked.labels[0] == only(12, 0x02000000));
  CHECK(tracked.labels[1] == only(5, 0x02000000));
}

TEST_CASE("Vectors, generic addresses and addresses with labels", "[taint]") {
  const std::string generic =
      kShared + "cvt.u64.u32 %d1, %r11;\ncvta.shared.u64 %d1, %d1;\nst.v2.b32 [%d1], {%i0, %i1};\n";
  const Tracked vector =
      track({generic + "ld.v2.b32 {%o0, %o1}, [%d1];", "rr", "rr"}, {{{1}, {0x02}}, {{1}, {0x0400}}});
  CHECK(vector.labels == std::vector<Words>{Words(32, 0x02), Words(32, 0x0400)});
  // Label 1 is not watched: no finding, but what is loaded depends on it.
  const Form through{kShared + "st.shared.u32 [%r11], 0;\nand.b32 %r1, %i0, 4;\nadd.s32 %r1, %r1, %r11;\n" +
                         "ld.shared.u16 %o0, [%r1];",
                     "r", "h"};
  CHECK(labels_after(through, {{{0}, {0}}}) == 0);
  CHECK(labels_after(through, {{{0}, {2}}}) == 0x0202);
}

TEST_CASE("A launch with labels has the bits and the statistics of one without", "[taint]") {
  const std::string body =
      "mul.wide.u32 %d0, %index, 4;\nadd.s64 %d0, %d0, %ptr0;\nld.global.u32 %r1, [%d0];\n"
      "mad.lo.s32 %r1, %r1, 3, %lane;\nst.global.u32 [%d0], %r1;";
  std::vector<std::uint32_t> numbers(256);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::uint32_t>(7 * i + 1);
  Bench bench(kernel_text(body, 1));
  LaunchOptions options = one_cta(64);
  options.grid = {4, 1, 1};
  const std::uint64_t plain = bench.upload(numbers), labelled = bench.upload(numbers);
  const LaunchStats stats = bench.launch({plain}, options);
  for (const unsigned threads : {1u, 3u}) {
    options.threads = threads;
    bench.memory.write(labelled, std::as_bytes(std::span(numbers)));
    TaintMap map(bench.memory);
    map.label(labelled + 4 * 100, 4, 1);
    const std::vector<std::uint64_t> arguments = {labelled};
    const TaintReport report =
        launch_tainted(bench.module, bench.memory, map, "test", std::as_bytes(std::span(arguments)), options);
    CHECK(report.stats.warp_instructions == stats.warp_instructions);
    CHECK(report.stats.ctas == stats.ctas);
    CHECK(bench.download<std::uint32_t>(labelled, 256) == bench.download<std::uint32_t>(plain, 256));
    std::vector<Labels> expected(4 * 256, 0);
    std::fill_n(expected.begin() + 400, 4, Labels{1});
    CHECK(map.read(labelled, 4 * 256) == expected);
  }
}

TEST_CASE("Copies bring labels when they land, and zeros clean", "[taint]") {
  const auto copy = [](const std::string& size) {
    return kShared + "cp.async.ca.shared.global [%r11], [%row_in], 8" + size +
           ";\ncp.async.wait_all;\nld.shared.u64 %o0, [%r11];";
  };
  const Tainted source{{1}, {0x8040201008040201}};
  CHECK(labels_after({copy(""), "d", "d"}, {source}) == 0x8040201008040201);
  CHECK(labels_after({copy(", 3"), "d", "d"}, {source}) == 0x00040201);
  CHECK(labels_after({copy(", 0"), "d", "d"}, {source}) == 0);
  CHECK(labels_after({copy(", %i1"), "dr", "d"}, {source, {{0}, {2}}}) == 0x0202020202020202);
}

TEST_CASE("The label of a copy's size ends with the copy, unless another one to the same place is under way",
          "[taint]") {
  const auto two_copies = [](const std::string& between) {
    const std::string copy = "cp.async.ca.shared.global [%r11], [%row_in], 8, ";
    return kShared + copy + "%i1;\n" + between + copy + "0;\ncp.async.wait_all;\nld.shared.u64 %o0, [%r11];";
  };
  const Tainted source{{1}, {0}}, size{{0}, {2}};
  CHECK(labels_after({two_copies("cp.async.wait_all;\n"), "dr", "d"}, {source, size}) == 0);
  CHECK(labels_after({two_copies(""), "dr", "d"}, {source, size}) == 0x0202020202020202);
}

TEST_CASE("Atomics unite, exchanges replace", "[taint]") {
  const std::string store = kShared + "st.shared.u32 [%r11], %i0;\n";
  const std::string load = "\nld.shared.u32 %o1, [%r11];";
  const Tainted old{{1}, {0x01}}, value{{2}, {0x0200}};
  const Tracked add = track({store + "atom.shared.add.u32 %o0, [%r11], %i1;" + load, "rr", "rr"}, {old, value});
  CHECK(add.labels[0][0] == 0x01);
  CHECK(add.labels[1][0] == 0x03030303);
  const Tracked exchange = track({store + "atom.shared.exch.b32 %o0, [%r11], %i1;" + load, "rr", "rr"}, {old, value});
  CHECK(exchange.labels[0][0] == 0x01);
  CHECK(exchange.labels[1][0] == 0x0200);
}

TEST_CASE("bar.red unites the predicates of the CTA", "[taint]") {
  CHECK(track({"bar.red.popc.u32 %o0, 0, %i0;", "p", "r"}, {{{1}, only(9, 1)}}).labels[0] == Words(32, 0x01010101));
  CHECK(track({"bar.red.or.pred %o0, 0, %i0;", "p", "p"}, {{{1}, {0}}}).labels[0] == Words(32, 0));
}

TEST_CASE("A branch, an address or a store guard that depends on label 0 is a finding", "[taint]") {
  const Tainted clean{{1}, {0}}, watched{{1}, {1}}, other{{1}, {2}};
  const auto found = [](const std::string& code, const Tainted& operand) {
    return kinds(track({code, "r", ""}, {operand}));
  };
  const std::string branch = "setp.ne.u32 %p1, %i0, 0;\n@%p1 bra skip;\nmov.b32 %r1, 0;\nskip:";
  CHECK(found(branch, watched) == Kinds{"control flow"});
  CHECK(found(branch, clean).empty());
  CHECK(found(branch, other).empty());
  CHECK(found("setp.ne.u32 %p1, %i0, 1;\n@%p1 exit;", watched) == Kinds{"control flow"});
  CHECK(found("setp.ne.u32 %p1, %i0, 1;\n@%p1 exit;", clean).empty());
  const std::string load = kShared + "and.b32 %r1, %i0, 4;\nadd.s32 %r1, %r1, %r10;\nld.shared.u32 %r2, [%r1];";
  CHECK(found(load, watched) == Kinds{"an address"});
  CHECK(found(load, clean).empty());
  const std::string store = "setp.ne.u32 %p1, %i0, 1;\n@%p1 st.global.u32 [%row_out], 1;";
  CHECK(found(store, watched) == Kinds{"whether memory is written"});
  CHECK(found(store, clean).empty());
  CHECK(found("mov.u32 %r1, -1;\nor.b32 %r1, %r1, 0;\nadd.s32 %r2, %i0, -2;\nbar.warp.sync %r2;", watched) ==
        Kinds{"control flow"});
}

TEST_CASE("A store of a forbidden label is a finding, of another one is not", "[taint]") {
  const std::string body =
      "mul.wide.u32 %d0, %index, 4;\nadd.s64 %d1, %d0, %ptr0;\nld.global.u32 %r1, [%d1];\n"
      "add.s64 %d1, %d0, %ptr1;\nst.global.u32 [%d1], %r1;";
  Bench bench(kernel_text(body, 2));
  const std::uint64_t in = bench.zeros<std::uint32_t>(32), out = bench.zeros<std::uint32_t>(32);
  TaintMap map(bench.memory);
  map.label(in + 4 * 5, 4, 2);
  map.label(in + 4 * 9 + 3, 1, 6);
  const std::vector<std::uint64_t> arguments = {in, out};
  const auto findings = [&] {
    return launch_tainted(bench.module, bench.memory, map, "test", std::as_bytes(std::span(arguments)), one_cta())
        .findings;
  };
  CHECK(findings().empty());
  map.forbid(out, 32 * 4, 4);
  REQUIRE(findings().size() == 1);
  CHECK(findings()[0].dependence == Dependence::output);
  CHECK(findings()[0].at.lane == 9);
  CHECK(findings()[0].labels == 4);
  CHECK(findings()[0].at.instruction.find("st.global.u32") == 0);
  map.forbid(out + 4 * 9, 4, 1);
  CHECK(findings().empty());
  CHECK(message_of(Fault::out_of_bounds, [&] { map.forbid(out + 4, 32 * 4, 1); }).find("zeros") != std::string::npos);
}

TEST_CASE("A finding names the kernel, the line, the instruction and the lane", "[taint]") {
  const Tracked tracked =
      track({"setp.ne.u32 %p1, %i0, 1;\n@%p1 bra skip;\nmov.b32 %r1, 0;\nskip:", "r", ""}, {{{1}, only(6, 5)}});
  REQUIRE(tracked.findings.size() == 1);
  const TaintFinding& finding = tracked.findings[0];
  CHECK(finding.at.kernel == "test");
  CHECK(finding.at.instruction.find("bra skip") != std::string::npos);
  CHECK(finding.at.line > 0);
  CHECK(finding.at.lane == 6);
  CHECK(finding.labels == 5);
  const std::string text = to_string(finding);
  CHECK(text.find("kernel 'test', line ") == 0);
  CHECK(text.find("lane 6 of warp 0") != std::string::npos);
  CHECK(text.find("control flow depends on labels 0x05") != std::string::npos);
}

TEST_CASE("The map keeps labels over launches and refuses ranges outside of an allocation", "[taint]") {
  Memory memory;
  const std::uint64_t at = memory.allocate(8, "buffer");
  TaintMap map(memory);
  CHECK(map.read(at, 8) == std::vector<Labels>(8, 0));
  map.label(at + 2, 3, 9);
  CHECK(map.read(at, 8) == std::vector<Labels>{0, 0, 9, 9, 9, 0, 0, 0});
  map.label(at + 3, 1, 0);
  CHECK(map.read(at + 2, 3) == std::vector<Labels>{9, 0, 9});
  CHECK(message_of(Fault::out_of_bounds, [&] { map.label(at + 4, 5, 1); }).find("buffer") != std::string::npos);
  CHECK(message_of(Fault::out_of_bounds, [&] { map.read(at, 9); }).find("buffer") != std::string::npos);
  Memory another;
  Bench bench(kernel_text("", 0));
  message_of(Fault::launch, [&] { launch_tainted(bench.module, another, map, "test", {}, one_cta()); });
}

}  // namespace
}  // namespace librt::ptx::test
