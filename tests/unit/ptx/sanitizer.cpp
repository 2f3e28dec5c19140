// Kernels that are broken in one way, each of which must be reported, beside their correct twins, which must not:
// faults, bytes and registers that nobody wrote, copies under way.
#include "tests/unit/ptx/sanitizer_harness.hpp"

namespace librt::ptx::test {
namespace {

const std::string kFill = "st.shared.u32 [%r2], %tx; bar.sync 0; ";

TEST_CASE("accesses outside every object are reported", "[sanitizer]") {
  check_twins({Defect::out_of_bounds,
               "ld.global.u32 %r5, [%ptr0+4096];",
               "ld.global.u32 %r5, [%ptr0+4092];",
               {"0 bytes past the end of 'zeros'", "lane 0 of warp 0", "ld.global.u32"}});
  check_twins({Defect::out_of_bounds,
               "add.u32 %r5, %r2, 3844; st.shared.u32 [%r5], 1;",
               "add.u32 %r5, %r2, 3840; st.shared.u32 [%r5], 1;",
               {"shared memory", "lane 31 of warp 1"}});
  check_twins({Defect::out_of_bounds,
               ".local .align 4 .b8 own[16]; mov.u32 %r5, own; st.local.u32 [%r5+16], 1;",
               ".local .align 4 .b8 own[16]; mov.u32 %r5, own; st.local.u32 [%r5+12], 1;",
               {"local memory"}});
  check_twins({Defect::out_of_bounds, "ld.param.u64 %d1, [arg1+8];", "ld.param.u64 %d1, [arg1];", {"parameters"}});
}

TEST_CASE("misaligned vectors are reported", "[sanitizer]") {
  check_twins({Defect::misaligned,
               "ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%ptr0+8];",
               "ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%ptr0+16];",
               {"not a multiple of 16", "byte 8 of 'zeros'"}});
}

TEST_CASE("member masks that the lanes contradict are reported", "[sanitizer]") {
  check_twins({Defect::illegal_sync,
               "setp.lt.u32 %p1, %lane, 16; @%p1 bar.warp.sync 0xffff0000;",
               "setp.lt.u32 %p1, %lane, 16; @%p1 bar.warp.sync 0x0000ffff;",
               {"0xffff0000", "bar.warp.sync"}});
}

TEST_CASE("a deadlock is reported with the position of every warp", "[sanitizer]") {
  check_twins({Defect::deadlock,
               "setp.lt.u32 %p1, %tx, 32; @%p1 bar.sync 1; @!%p1 bar.sync 2;",
               "setp.lt.u32 %p1, %tx, 32; @%p1 bar.sync 1, 32; @!%p1 bar.sync 2, 32;",
               {"CTA (0, 0, 0)", "warp 0", "bar.sync 1", "warp 1", "bar.sync 2"}});
}

TEST_CASE("what was found before a fault is kept, and the fault comes last", "[sanitizer]") {
  const SanitizerReport report = checked("ld.shared.u32 %r5, [%r2]; trap;");
  CHECK_FALSE(report.completed);
  REQUIRE(report.findings.size() == 2);
  CHECK(report.findings[0].defect == Defect::uninitialised_memory);
  CHECK(report.findings[1].defect == Defect::trap);
  CHECK(report.findings[1].at.instruction == "trap");
  CHECK(report.stats.ctas == 1);
}

TEST_CASE("loads of bytes that nobody wrote are reported", "[sanitizer]") {
  check_twins({Defect::uninitialised_memory,
               "ld.shared.u32 %r5, [%r2];",
               kFill + "ld.shared.u32 %r5, [%r2];",
               {"byte 0 of shared memory (4096 bytes)", "ld.shared.u32", "lane 0 of warp 0 of CTA (0, 0, 0)"}});
  check_twins({Defect::uninitialised_memory,
               "mov.b16 %h0, 1; st.shared.u16 [%r2], %h0; st.shared.u8 [%r2+2], %h0; ld.shared.u32 %r6, [%r2];",
               "mov.b16 %h0, 1; st.shared.u16 [%r2], %h0; st.shared.u8 [%r2+2], %h0; st.shared.u8 [%r2+3], %h0; "
               "ld.shared.u32 %r6, [%r2];"});
  check_twins({Defect::uninitialised_memory,
               "mov.u32 %r5, 1; ld.global.u32 %r5, [%ptr1];",
               "setp.eq.u32 %p1, %tx, 0; @%p1 st.global.u32 [%ptr1], 1; @%p1 ld.global.u32 %r5, [%ptr1];",
               {"byte 0 of 'fresh' (4096 bytes)"}});
  check_twins({Defect::uninitialised_memory,
               ".local .align 4 .b8 own[16]; mov.u32 %r5, own; st.local.u16 [%r5], 1; ld.local.u32 %r6, [%r5];",
               ".local .align 4 .b8 own[16]; mov.u32 %r5, own; st.local.u32 [%r5], 1; ld.local.u32 %r6, [%r5];",
               {"byte 0 of local memory (16 bytes)"}});
  check_twins({Defect::uninitialised_memory, "atom.shared.add.u32 %r5, [%r1], 1;",
               "setp.eq.u32 %p1, %tx, 0; @%p1 st.shared.u32 [%r1], 0; bar.sync 0; atom.shared.add.u32 %r5, [%r1], 1;"});
  check_twins({Defect::uninitialised_memory,
               "shl.b32 %r5, %lane, 4; add.u32 %r5, %r1, %r5; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r6}, [%r5];",
               kFill + "bar.sync 0; and.b32 %r5, %lane, 7; mad.lo.u32 %r5, %r5, 16, %r1; "
                       "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r6}, [%r5];",
               {"ldmatrix"}});
}

TEST_CASE("a register is reported where a lane reads it and has never written it", "[sanitizer]") {
  check_twins({Defect::uninitialised_register,
               "setp.lt.u32 %p1, %lane, 7; @%p1 mov.u32 %r5, 1; add.u32 %r6, %r5, 1;",
               "setp.lt.u32 %p1, %lane, 7; @%p1 mov.u32 %r5, 1; @%p1 add.u32 %r6, %r5, 1;",
               {"lane 7 of warp 0", "add.u32"}});
  check_twins(
      {Defect::uninitialised_register, "@%p1 mov.u32 %r5, 1;", "setp.eq.u32 %p1, %tx, 0; @%p1 mov.u32 %r5, 1;"});
  check_twins({Defect::uninitialised_register,
               "setp.lt.u32 %p1, %tx, 40; @%p1 bra over; mov.u32 %r5, 3; over: mov.u32 %r6, %r5;",
               "setp.lt.u32 %p1, %tx, 40; mov.u32 %r5, 2; @%p1 bra over; mov.u32 %r5, 3; over: mov.u32 %r6, %r5;",
               {"lane 0 of warp 0"}});
}

TEST_CASE("bytes that a launch before wrote are written", "[sanitizer]") {
  Bench bench(kernel_text("ld.global.u32 %r5, [%ptr0]; st.global.u32 [%ptr1], %r5;", 2));
  SanitizerMap map(bench.memory);
  const std::uint64_t first = bench.upload(std::vector<std::uint32_t>{5}), second = bench.memory.allocate(4, "second"),
                      third = bench.memory.allocate(4, "third");
  const auto run = [&](std::uint64_t from, std::uint64_t to) {
    const std::vector<std::uint64_t> arguments{from, to};
    return launch_checked(bench.module, bench.memory, map, "test", std::as_bytes(std::span(arguments)), one_cta(1))
        .findings.size();
  };
  CHECK(run(second, third) == 1);
  CHECK(run(third, third) == 0);  // whatever it was, it was stored
  CHECK(run(first, second) == 0);
  CHECK(run(second, third) == 0);
  const std::uint64_t fourth = bench.memory.allocate(4, "fourth");
  CHECK(run(fourth, third) == 1);
  bench.launch({first, third}, one_cta(1));  // nobody watches; it could have written all there is
  CHECK(run(fourth, third) == 0);
}

const std::string kCopy =
    "mad.lo.u32 %r5, %tx, 16, %r1; mad.wide.u32 %d1, %tx, 16, %ptr0; cp.async.cg.shared.global [%r5], [%d1], 16; "
    "cp.async.commit_group; xor.b32 %r6, %tx, 32; mad.lo.u32 %r6, %r6, 16, %r1; ";

TEST_CASE("the destination of a copy that its thread has not waited for is reported", "[sanitizer]") {
  check_twins({Defect::copy_in_flight,
               kCopy + "ld.shared.u32 %r7, [%r5]; cp.async.wait_group 0;",
               kCopy + "cp.async.wait_group 0; ld.shared.u32 %r7, [%r5];",
               {"reads 4 bytes", "byte 0 of shared memory", "cp.async.cg.shared.global", "lane 0 of warp 0"}});
  check_twins({Defect::copy_in_flight,
               kCopy + "st.shared.u32 [%r5], 1; cp.async.wait_group 0;",
               kCopy + "cp.async.wait_group 0; st.shared.u32 [%r5], 1;",
               {"writes 4 bytes"}});
  check_twins({Defect::copy_in_flight, kCopy + "cp.async.cg.shared.global [%r5], [%d1], 16; cp.async.wait_all;",
               kCopy + "cp.async.wait_all; cp.async.cg.shared.global [%r5], [%d1], 16; cp.async.wait_all;"});
  // One group too many may stay under way.
  check_twins({Defect::copy_in_flight, kCopy + "cp.async.wait_group 1; ld.shared.u32 %r7, [%r5];",
               kCopy + "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r7, [%r5];"});
  // The copy came after the commit.
  check_twins({Defect::copy_in_flight,
               kCopy + "cp.async.ca.shared.global [%r5+2048], [%d1], 8; cp.async.wait_group 0; "
                       "ld.shared.u32 %r7, [%r5+2052];",
               kCopy + "cp.async.ca.shared.global [%r5+2048], [%d1], 8; cp.async.wait_all; "
                       "ld.shared.u32 %r7, [%r5+2052];"});
}

TEST_CASE("a copy is there for others after its thread's wait and a barrier", "[sanitizer]") {
  check_twins({Defect::race,
               kCopy + "cp.async.wait_group 0; ld.shared.u32 %r7, [%r6]; bar.sync 0;",
               kCopy + "cp.async.wait_group 0; bar.sync 0; ld.shared.u32 %r7, [%r6];",
               {"cp.async"}});
  check_twins({Defect::copy_in_flight, kCopy + "bar.sync 0; cp.async.wait_group 0; ld.shared.u32 %r7, [%r6];",
               kCopy + "cp.async.wait_group 0; bar.sync 0; ld.shared.u32 %r7, [%r6];"});
  // What others still read must not be copied over.
  check_twins({Defect::race,
               "mad.lo.u32 %r5, %tx, 16, %r1; st.shared.u32 [%r5], 1; bar.sync 0; xor.b32 %r6, %tx, 32; "
               "mad.lo.u32 %r6, %r6, 16, %r1; ld.shared.u32 %r7, [%r6];" +
                   kCopy + "cp.async.wait_all;",
               "mad.lo.u32 %r5, %tx, 16, %r1; st.shared.u32 [%r5], 1; bar.sync 0; xor.b32 %r6, %tx, 32; "
               "mad.lo.u32 %r6, %r6, 16, %r1; ld.shared.u32 %r7, [%r6]; bar.sync 0;" +
                   kCopy + "cp.async.wait_all;",
               {"ld.shared.u32", "cp.async.cg.shared.global"}});
}

TEST_CASE("zeros that a copy fills in are written, and read from nowhere", "[sanitizer]") {
  const std::string fill = "mad.lo.u32 %r5, %tx, 16, %r1; cp.async.cg.shared.global [%r5], [%ptr1], 16, ";
  const std::string wait = "; cp.async.wait_all; ld.shared.v4.u32 {%r6, %r7, %r8, %r9}, [%r5];";
  check_twins({Defect::uninitialised_memory, fill + "8" + wait, fill + "0" + wait, {"cp.async", "'fresh'"}});
}

}  // namespace
}  // namespace librt::ptx::test
