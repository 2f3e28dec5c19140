// Strict decoding: a form that the ISA does not have, or that the machine does not know in full, is refused when the
// module is parsed, by its name. What is accepted is executed with every modifier.
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

/// Refused as unsupported or as a syntax error, with `needle` in the message.
void check_rejected(std::string_view code, std::string_view needle) {
  INFO(code);
  try {
    Module::parse(kernel_text(code, 2));
    FAIL_CHECK("this was accepted");
  } catch (const MachineError& error) {
    INFO(error.what());
    CHECK((error.fault() == Fault::unsupported || error.fault() == Fault::syntax));
    CHECK(std::string_view(error.what()).find(needle) != std::string_view::npos);
  }
}

struct Illegal {
  std::string_view code;
  std::string_view needle;
};

}  // namespace

TEST_CASE("modifiers that do not exist are refused by name", "[ptx][strict]") {
  for (const Illegal& i : std::vector<Illegal>{
           {"max.foo.f32 %r1, %r2, %r3;", "max.foo.f32"},
           {"add.sat.u32 %r1, %r2, %r3;", "add.sat.u32"},
           {"add.rn.s32 %r1, %r2, %r3;", "add.rn.s32"},
           {"add.cc.f32 %r1, %r2, %r3;", "add.cc.f32"},
           {"add.ftz.f64 %d1, %d2, %d3;", "add.ftz.f64"},
           {"add.ftz.bf16 %h1, %h2, %h3;", "add.ftz.bf16"},
           {"add.rz.f16 %h1, %h2, %h3;", "add.rz.f16"},
           {"add.u8 %h1, %h2, %h3;", "add.u8"},
           {"mul.hi.f32 %r1, %r2, %r3;", "mul.hi.f32"},
           {"mul.s32 %r1, %r2, %r3;", "mul.s32"},
           {"mul.wide.s64 %d1, %d2, %d3;", "mul.wide.s64"},
           {"mad.s32 %r1, %r2, %r3, %r4;", "mad.s32"},
           {"fma.f32 %r1, %r2, %r3, %r4;", "fma.f32"},
           {"div.f32 %r1, %r2, %r3;", "div.f32"},
           {"div.approx.f64 %d1, %d2, %d3;", "div.approx.f64"},
           {"rcp.f32 %r1, %r2;", "rcp.f32"},
           {"sqrt.f32 %r1, %r2;", "sqrt.f32"},
           {"ex2.f32 %r1, %r2;", "ex2.f32"},
           {"lg2.approx.f64 %d1, %d2;", "lg2.approx.f64"},
           {"min.sat.f32 %r1, %r2, %r3;", "min.sat.f32"},
           {"min.NaN.s32 %r1, %r2, %r3;", "min.NaN.s32"},
           {"max.NaN.f64 %d1, %d2, %d3;", "max.NaN.f64"},
           {"neg.u32 %r1, %r2;", "neg.u32"},
           {"abs.u32 %r1, %r2;", "abs.u32"},
           {"and.u32 %r1, %r2, %r3;", "and.u32"},
           {"shl.s32 %r1, %r2, %r3;", "shl.s32"},
           {"shr.f32 %r1, %r2, %r3;", "shr.f32"},
           {"not.s32 %r1, %r2;", "not.s32"},
           {"popc.u32 %r1, %r2;", "popc.u32"},
           {"brev.u32 %r1, %r2;", "brev.u32"},
           {"bfe.b32 %r1, %r2, %r3, %r4;", "bfe.b32"},
           {"bfi.u32 %r1, %r2, %r3, %r4, %r5;", "bfi.u32"},
           {"prmt.b64 %d1, %d2, %d3, %r4;", "prmt.b64"},
           {"shf.l.b32 %r1, %r2, %r3, %r4;", "shf.l.b32"},
           {"setp.lt.b32 %p1, %r2, %r3;", "setp.lt.b32"},
           {"setp.lo.s32 %p1, %r2, %r3;", "setp.lo.s32"},
           {"setp.num.s32 %p1, %r2, %r3;", "setp.num.s32"},
           {"setp.equ.u32 %p1, %r2, %r3;", "setp.equ.u32"},
           {"setp.lt.nand.s32 %p1, %r2, %r3, %p2;", "setp.lt.nand.s32"},
           {"selp.pred %p1, %p2, %p3, %p4;", "selp.pred"},
           {"mov.b8 %h1, %h2;", "mov.b8"},
           {"cvt.s32.f32 %r1, %r2;", "cvt.s32.f32"},
           {"cvt.f32.s32 %r1, %r2;", "cvt.f32.s32"},
           {"cvt.rni.f32.s32 %r1, %r2;", "cvt.rni.f32.s32"},
           {"cvt.rn.f32.f16 %r1, %h2;", "cvt.rn.f32.f16"},
           {"cvt.rn.s32.f32 %r1, %r2;", "cvt.rn.s32.f32"},
           {"cvt.f32.f64 %r1, %d2;", "cvt.f32.f64"},
       }) {
    check_rejected(i.code, i.needle);
  }
}

TEST_CASE("memory and warp forms that do not exist are refused by name", "[ptx][strict]") {
  for (const Illegal& i : std::vector<Illegal>{
           {"ld.foo.u32 %r1, [%d1];", "ld.foo.u32"},
           {"ld.global.v3.f32 {%r1, %r2, %r3}, [%d1];", "ld.global.v3.f32"},
           {"ld.global.L1::sometimes.u32 %r1, [%d1];", "ld.global.L1::sometimes.u32"},
           {"ld.shared.nc.u32 %r1, [%r2];", "ld.shared.nc.u32"},
           {"ld.acquire.global.u32 %r1, [%d1];", "ld.acquire.global.u32"},
           {"ld.release.gpu.global.u32 %r1, [%d1];", "ld.release.gpu.global.u32"},
           {"st.acquire.gpu.global.u32 [%d1], %r1;", "st.acquire.gpu.global.u32"},
           {"st.global.nc.u32 [%d1], %r1;", "st.global.nc.u32"},
           {"st.const.u32 [%d1], %r1;", "st.const.u32"},
           {"atom.global.sub.u32 %r1, [%d1], %r2;", "atom.global.sub.u32"},
           {"atom.global.add.b32 %r1, [%d1], %r2;", "atom.global.add.b32"},
           {"atom.global.min.f32 %r1, [%d1], %r2;", "atom.global.min.f32"},
           {"atom.global.and.u32 %r1, [%d1], %r2;", "atom.global.and.u32"},
           {"atom.global.add.s64 %d1, [%d1], %d2;", "atom.global.add.s64"},
           {"atom.local.add.u32 %r1, [%d1], %r2;", "atom.local.add.u32"},
           {"red.global.exch.b32 [%d1], %r2;", "red.global.exch.b32"},
           {"red.acquire.gpu.global.add.u32 [%d1], %r2;", "red.acquire.gpu.global.add.u32"},
           {"bar.red.xor.pred %p1, 0, %p2;", "bar.red.xor.pred"},
           {"bar.wait 0;", "bar.wait"},
           {"shfl.bfly.b32 %r1, %r2, 1, 31;", "shfl.bfly.b32"},
           {"shfl.sync.rotate.b32 %r1, %r2, 1, 31, -1;", "shfl.sync.rotate.b32"},
           {"shfl.sync.bfly.b64 %d1, %d2, 1, 31, -1;", "shfl.sync.bfly.b64"},
           {"vote.all.pred %p1, %p2;", "vote.all.pred"},
           {"vote.sync.most.pred %p1, %p2, -1;", "vote.sync.most.pred"},
           {"redux.sync.mul.u32 %r1, %r2, -1;", "redux.sync.mul.u32"},
           {"redux.sync.and.u32 %r1, %r2, -1;", "redux.sync.and.u32"},
           {"match.some.sync.b32 %r1, %r2, -1;", "match.some.sync.b32"},
           {"cp.async.cg.shared.global [%r1], [%d1], 8;", "cp.async.cg.shared.global"},
           {"cp.async.ca.shared.global [%r1], [%d1], 12;", "cp.async.ca.shared.global"},
           {"cp.async.ca.global.shared [%d1], [%r1], 16;", "cp.async.ca.global.shared"},
           {"cp.async.cs.shared.global [%r1], [%d1], 16;", "cp.async.cs.shared.global"},
           {"ldmatrix.sync.aligned.m8n8.x3.shared.b16 {%r1, %r2, %r3}, [%r4];",
            "ldmatrix.sync.aligned.m8n8.x3.shared.b16"},
           {"ldmatrix.m8n8.x1.shared.b16 {%r1}, [%r4];", "ldmatrix.m8n8.x1.shared.b16"},
           {"ldmatrix.sync.aligned.m8n8.x1.global.b16 {%r1}, [%d4];", "ldmatrix.sync.aligned.m8n8.x1.global.b16"},
           {"mma.sync.aligned.m16n8k16.row.row.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, %r4}, {%r5, "
            "%r6}, {%f0, %f1, %f2, %f3};",
            "mma.sync.aligned.m16n8k16.row.row.f32.bf16.bf16.f32"},
           {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.f16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, %r4}, {%r5, "
            "%r6}, {%f0, %f1, %f2, %f3};",
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.f16.f32"},
           {"mma.sync.aligned.m16n8k16.row.col.bf16.bf16.bf16.bf16 {%f0, %f1}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%f0, "
            "%f1};",
            "mma.sync.aligned.m16n8k16.row.col.bf16.bf16.bf16.bf16"},
           {"frobnicate.u32 %r1, %r2;", "frobnicate.u32"},
       }) {
    check_rejected(i.code, i.needle);
  }
}

TEST_CASE("modifiers in the wrong order or twice are refused", "[ptx][strict]") {
  check_rejected("add.f32.rn %r1, %r2, %r3;", "add.f32.rn");
  check_rejected("add.ftz.rn.f32 %r1, %r2, %r3;", "add.ftz.rn.f32");
  check_rejected("fma.rn.rn.f32 %r1, %r2, %r3, %r4;", "fma.rn.rn.f32");
  check_rejected("mul.lo.lo.s32 %r1, %r2, %r3;", "mul.lo.lo.s32");
}

TEST_CASE("operands must fit the instruction", "[ptx][strict]") {
  for (const Illegal& i : std::vector<Illegal>{
           {"add.s32 %r1, %r2;", "add.s32"},
           {"add.s32 %r1, %r2, %r3, %r4;", "add.s32"},
           {"add.s32 %r1, %d2, %r3;", "%d2"},
           {"add.s32 %d1, %r2, %r3;", "%d1"},
           {"add.s64 %d1, %d2, %r3;", "%r3"},
           {"add.f16 %h1, %h2, %r3;", "%r3"},
           {"add.s32 %r1, %p2, %r3;", "%p2"},
           {"add.s32 5, %r2, %r3;", "add.s32"},
           {"add.s32 %r1, %r2, [%r3];", "add.s32"},
           {"add.f32 %r1, %r2, 1;", "add.f32"},
           {"and.pred %p1, %p2, %r3;", "%r3"},
           {"setp.eq.s32 %r1, %r2, %r3;", "%r1"},
           {"mul.wide.u32 %r1, %r2, %r3;", "%r1"},
           {"cvt.u64.u32 %r1, %r2;", "%r1"},
           {"cvt.rn.bf16x2.f32 %r1, %r2;", "cvt.rn.bf16x2.f32"},
           {"ld.global.u32 %r1, %d1;", "ld.global.u32"},
           {"ld.global.u64 %r1, [%d1];", "%r1"},
           {"ld.global.v2.u32 {%r1, %r2, %r3}, [%d1];", "ld.global.v2.u32"},
           {"ld.global.v4.u32 %r1, [%d1];", "ld.global.v4.u32"},
           {"ld.global.u32 {%r1, %r2}, [%d1];", "ld.global.u32"},
           {"st.global.u32 [%d1];", "st.global.u32"},
           {"st.global.u32 %r1, [%d1];", "st.global.u32"},
           {"mov.b64 %d1, {%r1, %r2, %r3};", "mov.b64"},
           {"mov.b32 %r1, {%r2, %r3};", "mov.b32"},
           {"mov.u32 %tid.x, %r1;", "mov.u32"},
           {"lop3.b32 %r1, %r2, %r3, %r4, 256;", "256"},
           {"shfl.sync.bfly.b32 %r1, %r2, 1, 31;", "shfl.sync.bfly.b32"},
           {"selp.b32 %r1, %r2, %r3, %r4;", "%r4"},
           {"@%r1 mov.u32 %r2, 1;", "%r1"},
           {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3}, {%r5, %r6}, "
            "{%f0, %f1, %f2, %f3};",
            "mma.sync"},
           {"mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, %r4}, {%r5, "
            "%r6}, {%f0, %f1, %f2, %f3};",
            "mma.sync"},
           {"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2}, [%r4];", "ldmatrix"},
           {"cp.async.wait_group;", "cp.async.wait_group"},
           {"cp.async.wait_group %r1;", "cp.async.wait_group"},
           {"bra;", "bra"},
           {"bra NOWHERE;", "NOWHERE"},
           {"mov.u32 %r1, %undeclared;", "%undeclared"},
           {"mov.u32 %r64, 1;", "%r64"},
           {"ld.param.u64 %d1, [nothing];", "nothing"},
       }) {
    check_rejected(i.code, i.needle);
  }
}

TEST_CASE("directives that the machine does not know are refused by name", "[ptx][strict]") {
  const auto refuse = [](const std::string& scope, const std::string& body, std::string_view needle) {
    INFO(scope << body);
    try {
      Module::parse(kernel_text(body, 0, scope));
      FAIL_CHECK("this was accepted");
    } catch (const MachineError& error) {
      INFO(error.what());
      CHECK((error.fault() == Fault::unsupported || error.fault() == Fault::syntax));
      CHECK(std::string_view(error.what()).find(needle) != std::string_view::npos);
    }
  };
  refuse(".frobnicate 5;", "", ".frobnicate");
  refuse("", ".frobnicate 5;", ".frobnicate");
  refuse(".global .texref t;", "", ".texref");
  refuse(".global .u128 t;", "", ".u128");
  refuse("", ".reg .u128 %x;", ".u128");
  refuse(".global .align 3 .u32 t;", "", "3");
}

TEST_CASE("strictness does not depend on whether the instruction would be executed", "[ptx][strict]") {
  check_rejected("ret; max.foo.f32 %r1, %r2, %r3;", "max.foo.f32");
  check_rejected("@!%p1 max.foo.f32 %r1, %r2, %r3;", "max.foo.f32");
}

TEST_CASE("a refusal names the line", "[ptx][strict]") {
  const std::string message = message_of(Fault::unsupported, [] {
    Module::parse(
        ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n.reg .f32 %f<4>;\nadd.f32 %f1, %f2, "
        "%f3;\nmax.foo.f32 %f1, %f2, %f3;\nret;\n}\n");
  });
  INFO(message);
  CHECK(message.find('8') != std::string::npos);
}

}  // namespace librt::ptx::test
