// Labels through the instructions of one lane: which bytes of a result depend on which bytes of the operands.
#include "tests/unit/ptx/taint_harness.hpp"

namespace librt::ptx::test {
namespace {

TEST_CASE("Arithmetic gives every byte the labels of every source byte, whatever the values", "[taint]") {
  const Tainted clean{{5}, {0}}, second_byte{{7}, {0x0200}}, two{{0}, {0x01000004}};
  for (const char* opcode : {"add.s32", "sub.u32", "mul.lo.s32", "mul.hi.u32", "div.u32", "rem.s32", "min.s32",
                             "max.u32", "mul.f32", "add.rn.f32", "max.NaN.f32", "div.rn.f32"}) {
    INFO(opcode);
    const Form form{std::string(opcode) + " %o0, %i0, %i1;", "rr", "r"};
    CHECK(labels_after(form, {clean, clean}) == 0);
    CHECK(labels_after(form, {clean, second_byte}) == 0x02020202);
    CHECK(labels_after(form, {two, second_byte}) == 0x07070707);
  }
  CHECK(labels_after({"mul.f32 %o0, %i0, 0f00000000;", "r", "r"}, {{{0}, {1}}}) == 0x01010101);
  CHECK(labels_after({"fma.rn.f32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {clean, clean, second_byte}) == 0x02020202);
  CHECK(labels_after({"mul.wide.u32 %o0, %i0, %i1;", "rr", "d"}, {clean, second_byte}) == 0x0202020202020202);
  CHECK(labels_after({"mad.wide.u32 %o0, %i0, %i1, %i2;", "rrd", "d"}, {clean, clean, {{1}, {0x10}}}) ==
        0x1010101010101010);
  CHECK(labels_after({"ex2.approx.ftz.f32 %o0, %i0;", "r", "r"}, {second_byte}) == 0x02020202);
  CHECK(labels_after({"popc.b32 %o0, %i0;", "r", "r"}, {second_byte}) == 0x02020202);
}

TEST_CASE("Carries have labels", "[taint]") {
  const Form form{"add.cc.u32 %r1, %i0, %i1; addc.u32 %o0, 0, 0;", "rr", "r"};
  CHECK(labels_after(form, {{{5}, {0}}, {{7}, {0}}}) == 0);
  CHECK(labels_after(form, {{{5}, {0}}, {{7}, {4}}}) == 0x04040404);
}

TEST_CASE("A register that is written from clean sources is clean again", "[taint]") {
  CHECK(labels_after({"mov.b32 %o0, %i0; mov.b32 %o0, 3;", "r", "r"}, {{{5}, {0x01010101}}}) == 0);
  CHECK(labels_after({"mov.b32 %o0, %i0; add.s32 %o0, %i1, 3;", "rr", "r"}, {{{5}, {0x01010101}}, {{5}, {0}}}) == 0);
}

TEST_CASE("Moves keep bytes apart", "[taint]") {
  const Tainted word{{0x44332211}, {0x08040201}}, wide{{0x8877665544332211}, {0x8040201008040201}};
  CHECK(labels_after({"mov.b32 %o0, %i0;", "r", "r"}, {word}) == 0x08040201);
  CHECK(labels_after({"mov.b64 %o0, %i0;", "d", "d"}, {wide}) == 0x8040201008040201);
  CHECK(labels_after({"mov.b64 {%r1, %o0}, %i0;", "d", "r"}, {wide}) == 0x80402010);
  CHECK(labels_after({"mov.b32 {%o0, %h1}, %i0;", "r", "h"}, {word}) == 0x0201);
  CHECK(labels_after({"mov.b64 %o0, {%i0, %i1};", "rr", "d"}, {word, {{1}, {0}}}) == 0x08040201);
  CHECK(labels_after({"mov.b32 %o0, {%i0, %i1};", "hh", "r"}, {{{1}, {0}}, {{1}, {0x0302}}}) == 0x03020000);
}

TEST_CASE("Shifts by clean amounts move labels, by labelled ones spread them", "[taint]") {
  const Tainted word{{0x80332211}, {0x08040201}};
  CHECK(labels_after({"shl.b32 %o0, %i0, 8;", "r", "r"}, {word}) == 0x04020100);
  CHECK(labels_after({"shl.b32 %o0, %i0, 4;", "r", "r"}, {word}) == 0x0c060301);
  CHECK(labels_after({"shr.u32 %o0, %i0, 16;", "r", "r"}, {word}) == 0x00000804);
  CHECK(labels_after({"shr.s32 %o0, %i0, 16;", "r", "r"}, {word}) == 0x08080804);
  CHECK(labels_after({"shl.b32 %o0, %i0, 32;", "r", "r"}, {word}) == 0);
  CHECK(labels_after({"shl.b32 %o0, %i0, %i1;", "rr", "r"}, {word, {{8}, {0}}}) == 0x04020100);
  CHECK(labels_after({"shl.b32 %o0, %i0, %i1;", "rr", "r"}, {word, {{8}, {0x10}}}) == 0x1f1f1f1f);
  CHECK(labels_after({"shf.l.wrap.b32 %o0, %i0, %i1, 8;", "rr", "r"}, {word, {{1}, {0x40302010}}}) == 0x30201008);
  CHECK(labels_after({"brev.b32 %o0, %i0;", "r", "r"}, {word}) == 0x01020408);
}

TEST_CASE("prmt, bfe and bfi keep bytes apart where their controls are clean", "[taint]") {
  const Tainted a{{0x44332211}, {0x08040201}}, b{{0x88776655}, {0x80402010}};
  CHECK(labels_after({"prmt.b32 %o0, %i0, %i1, 0x7610;", "rr", "r"}, {a, b}) == 0x80400201);
  CHECK(labels_after({"prmt.b32 %o0, %i0, %i1, 0x3333;", "rr", "r"}, {a, b}) == 0x08080808);
  CHECK(labels_after({"prmt.b32 %o0, %i0, %i1, 0x888f;", "rr", "r"}, {a, b}) == 0x01010180);
  CHECK(labels_after({"prmt.b32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {a, {{0}, {0}}, {{0}, {0x10}}}) == 0x1f1f1f1f);
  CHECK(labels_after({"bfe.u32 %o0, %i0, 8, 8;", "r", "r"}, {a}) == 0x02);
  CHECK(labels_after({"bfe.s32 %o0, %i0, 8, 8;", "r", "r"}, {a}) == 0x02020202);
  CHECK(labels_after({"bfe.u32 %o0, %i0, %i1, 8;", "rr", "r"}, {a, {{0}, {0x20}}}) == 0x2f2f2f2f);
  CHECK(labels_after({"bfi.b32 %o0, %i0, %i1, 16, 8;", "rr", "r"}, {a, b}) == 0x80012010);
  CHECK(labels_after({"bfi.b32 %o0, %i0, %i1, 4, 8;", "rr", "r"}, {a, b}) == 0x80402111);
}

TEST_CASE("and, or and lop3 are clean where a clean operand decides", "[taint]") {
  const Tainted all{{0x12345678}, {0x01010101}};
  CHECK(labels_after({"and.b32 %o0, %i0, 0xff00;", "r", "r"}, {all}) == 0x00000100);
  CHECK(labels_after({"and.b32 %o0, %i0, 0x10;", "r", "r"}, {all}) == 0x00000001);
  CHECK(labels_after({"and.b32 %o0, %i0, %i1;", "rr", "r"}, {all, {{0xff00}, {0x02020202}}}) == 0x03030303);
  CHECK(labels_after({"or.b32 %o0, %i0, 0xffff00ff;", "r", "r"}, {all}) == 0x00000100);
  CHECK(labels_after({"or.b32 %o0, %i0, 0;", "r", "r"}, {all}) == 0x01010101);
  CHECK(labels_after({"xor.b32 %o0, %i0, %i1;", "rr", "r"}, {all, {{0xffffffff}, {0x0200}}}) == 0x01010301);
  CHECK(labels_after({"not.b32 %o0, %i0;", "r", "r"}, {{{1}, {0x0100}}}) == 0x0100);
  // (a & b) | (~a & c) with a clean a: the side that it takes
  const Form choose{"lop3.b32 %o0, %i0, %i1, %i2, 0xca;", "rrr", "r"};
  CHECK(labels_after(choose, {{{0xffff0000}, {0}}, {{5}, {0x01010101}}, {{6}, {0x02020202}}}) == 0x01010202);
  CHECK(labels_after(choose, {{{0xffff0000}, {0x04}}, {{5}, {0}}, {{4}, {0}}}) == 0x04);
  CHECK(labels_after(choose, {{{0xffff0000}, {0x04}}, {{5}, {0}}, {{5}, {0}}}) == 0);
}

TEST_CASE("selp takes the chosen side where the predicate is clean", "[taint]") {
  const Form form{"selp.b32 %o0, %i0, %i1, %i2;", "rrp", "r"};
  const Tainted a{{1}, {0x01010101}}, b{{2}, {0x0200}};
  CHECK(labels_after(form, {a, b, {{1}, {0}}}) == 0x01010101);
  CHECK(labels_after(form, {a, b, {{0}, {0}}}) == 0x0200);
  CHECK(labels_after(form, {b, b, {{0}, {4}}}) == 0x04040604);
  const Form sign{"slct.b32.s32 %o0, %i0, %i1, %i2;", "rrr", "r"};
  CHECK(labels_after(sign, {a, b, {{0xffffffff}, {0}}}) == 0x0200);
  CHECK(labels_after(sign, {{{1}, {0}}, b, {{5}, {4}}}) == 0x04040604);
}

TEST_CASE("Conversions", "[taint]") {
  const Tainted a{{0x3f800000}, {0x01000000}}, b{{0x3f800000}, {0x02}};
  CHECK(labels_after({"cvt.rn.bf16x2.f32 %o0, %i0, %i1;", "rr", "r"}, {a, b}) == 0x01010202);
  CHECK(labels_after({"cvt.rn.f16x2.f32 %o0, %i0, %i1;", "rr", "r"}, {a, {{0}, {0}}}) == 0x01010000);
  CHECK(labels_after({"cvt.u64.u32 %o0, %i0;", "r", "d"}, {a}) == 0x01000000);
  CHECK(labels_after({"cvt.s64.s32 %o0, %i0;", "r", "d"}, {a}) == 0x0101010101000000);
  CHECK(labels_after({"cvt.u32.u64 %o0, %i0;", "d", "r"}, {{{1}, {0x0800000000000100}}}) == 0x0100);
  CHECK(labels_after({"cvt.rn.f32.s32 %o0, %i0;", "r", "r"}, {b}) == 0x02020202);
  CHECK(labels_after({"fma.rn.bf16x2 %o0, %i0, %i1, %i1;", "rr", "r"}, {{{0}, {0x0100}}, {{0}, {0x02000000}}}) ==
        0x02020101);
}

TEST_CASE("setp: a clean boolean operand that decides makes the predicate clean", "[taint]") {
  const Tainted labelled{{5}, {1}}, clean{{5}, {0}};
  CHECK(labels_after({"setp.eq.s32 %o0, %i0, 5;", "r", "p"}, {labelled}) == 1);
  CHECK(labels_after({"setp.eq.s32 %o0, %i0, 5;", "r", "p"}, {clean}) == 0);
  const Form with_and{"setp.eq.and.s32 %o0, %i0, 5, %i1;", "rp", "p"};
  CHECK(labels_after(with_and, {labelled, {{1}, {0}}}) == 1);
  CHECK(labels_after(with_and, {labelled, {{0}, {0}}}) == 0);
  CHECK(labels_after(with_and, {clean, {{1}, {2}}}) == 2);
  CHECK(labels_after(with_and, {{{6}, {0}}, {{1}, {2}}}) == 0);
  const Form with_or{"setp.eq.or.s32 %o0, %i0, 5, !%i1;", "rp", "p"};
  CHECK(labels_after(with_or, {labelled, {{0}, {0}}}) == 0);
  CHECK(labels_after(with_or, {labelled, {{1}, {0}}}) == 1);
  // The second predicate has the comparison negated.
  const Tracked both = track({"setp.eq.and.s32 %o0|%o1, %i0, 5, %i1;", "rp", "pp"}, {clean, {{1}, {2}}});
  CHECK(both.labels[0][0] == 2);
  CHECK(both.labels[1][0] == 0);
  CHECK(labels_after({"and.pred %o0, %i0, %i1;", "pp", "p"}, {{{1}, {1}}, {{0}, {0}}}) == 0);
  CHECK(labels_after({"and.pred %o0, %i0, %i1;", "pp", "p"}, {{{1}, {1}}, {{1}, {0}}}) == 1);
  CHECK(labels_after({"or.pred %o0, %i0, %i1;", "pp", "p"}, {{{1}, {1}}, {{1}, {0}}}) == 0);
}

TEST_CASE("A guarded instruction is a choice between the new and the old value", "[taint]") {
  const Form form{"mov.b32 %o0, %i0;\n@%i2 mov.b32 %o0, %i1;", "rrp", "r"};
  const Tainted a{{1}, {0x01}}, b{{2}, {0x0200}};
  CHECK(labels_after(form, {a, b, {{1}, {0}}}) == 0x0200);
  CHECK(labels_after(form, {a, b, {{0}, {0}}}) == 0x01);
  CHECK(labels_after(form, {a, b, {{1}, {0x10}}}) == 0x10101210);
  CHECK(labels_after(form, {a, b, {{0}, {0x10}}}) == 0x10101011);
}

}  // namespace
}  // namespace librt::ptx::test
