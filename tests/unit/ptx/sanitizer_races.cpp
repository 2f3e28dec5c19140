// Races: kernels in which nothing orders two accesses, each of which must be reported, beside their twins, in which
// something does.
#include "tests/unit/ptx/sanitizer_harness.hpp"

namespace librt::ptx::test {
namespace {

const std::string kFill = "st.shared.u32 [%r2], %tx; bar.sync 0; ";

TEST_CASE("races between warps in shared memory are reported", "[sanitizer]") {
  check_twins({Defect::race,
               kFill + "st.shared.u32 [%r2], 7; ld.shared.u32 %r5, [%r3];",
               kFill + "st.shared.u32 [%r2], 7; bar.sync 0; ld.shared.u32 %r5, [%r3];",
               {"shared", "of warp 0", "of warp 1", "st.shared.u32", "ld.shared.u32"}});
  check_twins({Defect::race,
               kFill + "setp.lt.u32 %p1, %tx, 32; @!%p1 ld.shared.u32 %r5, [%r3]; @%p1 st.shared.u32 [%r2], 7;",
               kFill + "ld.shared.u32 %r5, [%r3]; bar.sync 0; st.shared.u32 [%r2], 7;",
               {"after the read by", "writes 4 bytes"}});
  check_twins({Defect::race,
               "st.shared.u32 [%r1], %tx;",
               "setp.eq.u32 %p1, %tx, 0; @%p1 st.shared.u32 [%r1], %tx; bar.sync 0; setp.eq.u32 %p1, %tx, 32; @%p1 "
               "st.shared.u32 [%r1], %tx;",
               {"after the write by"}});
  // Two warps write different bytes of one word.
  check_twins({Defect::race,
               "mov.b16 %h1, 1; shr.u32 %r5, %tx, 6; add.u32 %r5, %r1, %r5; setp.eq.u32 %p1, %lane, 0; "
               "@%p1 st.shared.u8 [%r5], %h1;",
               "mov.b16 %h1, 1; shr.u32 %r5, %tx, 5; add.u32 %r5, %r1, %r5; setp.eq.u32 %p1, %lane, 0; "
               "@%p1 st.shared.u8 [%r5], %h1;"});
}

TEST_CASE("every reader counts, not only the last one", "[sanitizer]") {
  // Both warps read; warp 0 hands over by a named barrier, warp 1 does not, and warp 0 writes.
  check_twins({Defect::race,
               kFill + "ld.shared.u32 %r5, [%r1]; setp.lt.u32 %p1, %tx, 32; @%p1 bar.sync 1, 32; "
                       "setp.eq.u32 %p2, %tx, 0; @%p2 st.shared.u32 [%r1], 9;",
               kFill + "ld.shared.u32 %r5, [%r1]; setp.lt.u32 %p1, %tx, 32; @%p1 bar.sync 1, 64; @!%p1 bar.arrive 1, "
                       "64; setp.eq.u32 %p2, %tx, 0; @%p2 st.shared.u32 [%r1], 9;"});
}

TEST_CASE("bar.arrive orders what came before it, bar.sync what comes after", "[sanitizer]") {
  const std::string producer = "setp.lt.u32 %p1, %tx, 32; @%p1 st.shared.u32 [%r2], 5; ";
  check_twins({Defect::race,
               "st.shared.u32 [%r2], %tx; bar.sync 0; " + producer +
                   "@%p1 bar.sync 1, 64; @!%p1 bar.arrive 1, 64; @!%p1 ld.shared.u32 %r5, [%r3];",
               "st.shared.u32 [%r2], %tx; bar.sync 0; " + producer +
                   "@%p1 bar.arrive 1, 64; @!%p1 bar.sync 1, 64; @!%p1 ld.shared.u32 %r5, [%r3];"});
  check_twins({Defect::race, kFill + "setp.eq.u32 %p1, %tx, 0; @%p1 st.shared.u32 [%r1], 1; ld.shared.u32 %r6, [%r1];",
               kFill + "setp.eq.u32 %p1, %tx, 0; @%p1 st.shared.u32 [%r1], 1; bar.red.popc.u32 %r5, 0, %p1; "
                       "ld.shared.u32 %r6, [%r1];"});
}

TEST_CASE("lanes of a warp are ordered where they meet only", "[sanitizer]") {
  check_twins({Defect::race,
               kFill + "st.shared.u32 [%r2], 3; ld.shared.u32 %r5, [%r4];",
               kFill + "st.shared.u32 [%r2], 3; bar.warp.sync 0xffffffff; ld.shared.u32 %r5, [%r4];",
               {"'ld.shared.u32 %r5, [%r4]', lane 0 of warp 1", "'st.shared.u32 [%r2], 3', lane 1 of warp 1"}});
  // A shuffle is no meeting for memory; halves of a warp may meet alone.
  check_twins({Defect::race,
               kFill + "st.shared.u32 [%r2], 3; shfl.sync.idx.b32 %r6, %r2, 0, 31, -1; ld.shared.u32 %r5, [%r4];",
               kFill + "setp.lt.u32 %p1, %lane, 16; st.shared.u32 [%r2], 3; @%p1 bar.warp.sync 0xffff; @!%p1 "
                       "bar.warp.sync 0xffff0000; ld.shared.u32 %r5, [%r4];"});
}

TEST_CASE("lanes of one store may write one value to one place", "[sanitizer]") {
  const std::string one_warp = "setp.lt.u32 %p1, %tx, 32; ";
  check_twins({Defect::race,
               one_warp + "@%p1 st.shared.u32 [%r1], %lane;",
               one_warp + "@%p1 st.shared.u32 [%r1], 5;",
               {"lane 1 of warp 0", "lane 0 of warp 0", "after the write by"}});
  check_twins(
      {Defect::race, one_warp + "@%p1 st.global.u32 [%ptr1], %lane;", one_warp + "@%p1 st.global.u32 [%ptr1], 5;"});
}

TEST_CASE("races between warps and between CTAs in global memory are reported", "[sanitizer]") {
  const std::string own = "mad.wide.u32 %d1, %index, 4, %ptr0; ";
  check_twins({Defect::race,
               own + "st.global.u32 [%d1], 1; xor.b32 %r5, %tx, 32; mad.wide.u32 %d2, %r5, 4, %ptr0; "
                     "ld.global.u32 %r6, [%d2];",
               own + "st.global.u32 [%d1], 1; bar.sync 0; xor.b32 %r5, %tx, 32; mad.wide.u32 %d2, %r5, 4, %ptr0; "
                     "ld.global.u32 %r6, [%d2];",
               {"'zeros'", "of warp 0", "of warp 1"}});
  check_twins({Defect::race,
               "mad.wide.u32 %d1, %tx, 4, %ptr0; st.global.u32 [%d1], %cta;",
               own + "st.global.u32 [%d1], %cta;",
               {"CTA (1, 0, 0)", "CTA (0, 0, 0)", "byte 0 of 'zeros'"},
               2});
  // A barrier orders one CTA, not two; the write comes after the read here, whatever a device does.
  check_twins({Defect::race,
               "ld.global.u32 %r5, [%ptr0]; bar.sync 0; setp.eq.u32 %p1, %index, 65; @%p1 st.global.u32 [%ptr0], 1;",
               "ld.global.u32 %r5, [%ptr0]; bar.sync 0; setp.eq.u32 %p1, %index, 65; @%p1 st.global.u32 [%ptr0+4], 1;",
               {"after the read by", "CTA (0, 0, 0)"},
               2});
}

/// The first CTA writes data and raises a flag; the second looks at the flag and reads the data.
std::string handover(const std::string& raise, const std::string& look) {
  return "setp.eq.u32 %p1, %index, 0; setp.eq.u32 %p2, %index, 64; @%p1 st.global.u32 [%ptr0+64], 5; @!%p1 bra next; " +
         raise + " next: @!%p2 bra done; " + look + " ld.global.u32 %r9, [%ptr0+64]; done:";
}

TEST_CASE("release and acquire order CTAs, and fences do with strong accesses", "[sanitizer]") {
  const std::string relaxed_raise = "atom.relaxed.gpu.global.add.u32 %r5, [%ptr0], 1;";
  const std::string relaxed_look = "ld.relaxed.gpu.global.u32 %r5, [%ptr0];";
  const std::string release = "st.release.gpu.global.u32 [%ptr0], 1;",
                    acquire = "ld.acquire.gpu.global.u32 %r5, [%ptr0];";
  const std::string fence = " fence.acq_rel.gpu; ";
  const auto check = [](const std::string& broken, const std::string& correct) {
    check_twins({Defect::race, broken, correct, {"byte 64 of 'zeros'", "CTA (0, 0, 0)", "CTA (1, 0, 0)"}, 2});
  };
  check(handover(relaxed_raise, relaxed_look), handover(fence + relaxed_raise, relaxed_look + fence));
  check(handover(fence + relaxed_raise, relaxed_look),
        handover("membar.gl; red.global.add.u32 [%ptr0], 1;", "ld.volatile.global.u32 %r5, [%ptr0]; membar.gl;"));
  check(handover(relaxed_raise, acquire), handover(release, acquire));
  check(handover(release, relaxed_look), handover(fence + relaxed_raise, acquire));
  check(
      handover(relaxed_raise + fence, relaxed_look + fence),
      handover("atom.acq_rel.gpu.global.add.u32 %r5, [%ptr0], 1;", "atom.acquire.gpu.global.add.u32 %r5, [%ptr0], 1;"));
}

TEST_CASE("strong accesses do not race with one another, but with others and past their scope", "[sanitizer]") {
  check_twins({Defect::race, "st.global.u32 [%ptr0], %tx;", "atom.global.add.u32 %r5, [%ptr0], 1;"});
  check_twins({Defect::race, "atom.global.add.u32 %r5, [%ptr0], 1; st.global.u32 [%ptr0], %r5;",
               "atom.global.add.u32 %r5, [%ptr0], 1; st.volatile.global.u32 [%ptr0], %r5;"});
  check_twins({Defect::race,
               "atom.relaxed.cta.global.add.u32 %r5, [%ptr0], 1;",
               "atom.relaxed.gpu.global.add.u32 %r5, [%ptr0], 1;",
               {"CTA (1, 0, 0)"},
               2});
}

TEST_CASE("launches are ordered", "[sanitizer]") {
  Bench bench(
      kernel_text("mad.wide.u32 %d1, %tx, 4, %ptr0; ld.global.u32 %r5, [%d1]; xor.b32 %r6, %tx, 33; bar.sync 0; "
                  "mad.wide.u32 %d2, %r6, 4, %ptr0; st.global.u32 [%d2], %r5;",
                  1));
  SanitizerMap map(bench.memory);
  const std::vector<std::uint64_t> arguments{bench.zeros<std::uint32_t>(64)};
  for (int i = 0; i < 3; ++i) {
    const SanitizerReport report =
        launch_checked(bench.module, bench.memory, map, "test", std::as_bytes(std::span(arguments)), one_cta(64));
    for (const SanitizerFinding& finding : report.findings) CHECK(to_string(finding) == "");
  }
}

}  // namespace
}  // namespace librt::ptx::test
