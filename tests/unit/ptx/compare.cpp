// Comparisons into predicates and registers, with boolean operands, and selections.
#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

using std::int16_t, std::int32_t, std::int64_t, std::uint16_t, std::uint32_t, std::uint64_t;

template <class T>
bool compare(const std::string& op, T a, T b) {
  const bool unordered = a != a || b != b;
  if (op == "num") return !unordered;
  if (op == "nan") return unordered;
  if (op == "equ") return unordered || a == b;
  if (op == "neu") return unordered || a != b;
  if (op == "ltu") return unordered || a < b;
  if (op == "leu") return unordered || a <= b;
  if (op == "gtu") return unordered || a > b;
  if (op == "geu") return unordered || a >= b;
  if (unordered) return false;
  if (op == "eq") return a == b;
  if (op == "ne") return a != b;
  if (op == "lt" || op == "lo") return a < b;
  if (op == "le" || op == "ls") return a <= b;
  if (op == "gt" || op == "hi") return a > b;
  return a >= b;  // ge, hs
}

template <class T>
void check_compare(const std::string& type, const std::vector<std::string>& ops, const std::vector<T>& values) {
  for (const std::string& op : ops) {
    std::vector<Example> examples;
    for (const T a : values) {
      for (const T b : values) examples.push_back({{bits(a), bits(b)}, {bits(compare(op, a, b))}});
    }
    check_form({"setp." + op + "." + type + " %o0, %i0, %i1;", std::string(2, letter<T>()), "p"}, examples);
  }
}

const std::vector<std::string> kSigned{"eq", "ne", "lt", "le", "gt", "ge"};
const std::vector<std::string> kUnsigned{"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"};
const std::vector<std::string> kFloat{"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                      "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

}  // namespace

TEST_CASE("setp compares integers of every type", "[ptx][compare]") {
  check_compare<int16_t>("s16", kSigned, {0, 1, -1, INT16_MIN, INT16_MAX});
  check_compare<int32_t>("s32", kSigned, {0, 1, -1, INT32_MIN, INT32_MAX});
  check_compare<int64_t>("s64", kSigned, {0, 1, -1, INT64_MIN, INT64_MAX});
  check_compare<uint16_t>("u16", kUnsigned, {0, 1, 0x8000, 0xffff});
  check_compare<uint32_t>("u32", kUnsigned, {0, 1, 0x80000000, 0xffffffff});
  check_compare<uint64_t>("u64", kUnsigned, {0, 1, uint64_t{1} << 63, ~uint64_t{0}, 0x100000000});
  check_compare<uint16_t>("b16", {"eq", "ne"}, {0, 1, 0x8000, 0xffff});
  check_compare<uint32_t>("b32", {"eq", "ne"}, {0, 1, 0x80000000, 0xffffffff});
  check_compare<uint64_t>("b64", {"eq", "ne"}, {0, 1, uint64_t{1} << 63, 0x100000001});
}

TEST_CASE("setp compares floats, ordered and unordered", "[ptx][compare]") {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  check_compare<float>("f32", kFloat, {0.0F, -0.0F, 1.0F, -1.0F, inf, -inf, nan, 1e-40F, 2e-40F});
  check_compare<double>("f64", kFloat,
                        {0.0, -0.0, 1.0, -1.0, static_cast<double>(inf), static_cast<double>(nan), 1e-310});
  check_form({"setp.lt.ftz.f32 %o0, %i0, %i1;", "rr", "p"},
             {{{bits(1e-40F), bits(2e-40F)}, {0}}, {{bits(1e-40F), bits(1.0F)}, {1}}});
  check_form({"setp.eq.ftz.f32 %o0, %i0, %i1;", "rr", "p"}, {{{bits(1e-40F), 0}, {1}}});
}

TEST_CASE("setp compares f16 and bf16", "[ptx][compare]") {
  const Word nan16 = 0x7e01, one16 = encode(1, kF16), two16 = encode(2, kF16), nan_b = 0x7fc1, one_b = encode(1, kBf16),
             two_b = encode(-2, kBf16);
  check_form({"setp.lt.f16 %o0, %i0, %i1;", "hh", "p"},
             {{{one16, two16}, {1}}, {{two16, one16}, {0}}, {{nan16, one16}, {0}}, {{0x8000, 0}, {0}}});
  check_form({"setp.geu.f16 %o0, %i0, %i1;", "hh", "p"},
             {{{one16, two16}, {0}}, {{two16, one16}, {1}}, {{nan16, one16}, {1}}});
  check_form({"setp.gt.bf16 %o0, %i0, %i1;", "hh", "p"},
             {{{one_b, two_b}, {1}}, {{two_b, one_b}, {0}}, {{nan_b, one_b}, {0}}});
  check_form({"setp.nan.bf16 %o0, %i0, %i1;", "hh", "p"}, {{{one_b, two_b}, {0}}, {{nan_b, one_b}, {1}}});
  // The two predicates of a packed comparison are its two halves.
  check_form_or_refusal(
      {"setp.lt.f16x2 %o0|%o1, %i0, %i1;", "rr", "pp"},
      {{{one16 << 16 | one16, one16 << 16 | two16}, {1, 0}}, {{one16 << 16 | two16, two16 << 16 | one16}, {0, 1}}});
}

TEST_CASE("setp combines with a predicate and gives the complement", "[ptx][compare]") {
  std::vector<Example> and_rows, or_rows, xor_rows, negated;
  for (const uint32_t a : {1U, 2U, 3U}) {
    for (const bool c : {false, true}) {
      const bool less = a < 2;
      const Words in{a, bits(c)};
      and_rows.push_back({in, {bits(less && c), bits(!less && c)}});
      or_rows.push_back({in, {bits(less || c), bits(!less || c)}});
      xor_rows.push_back({in, {bits(less != c), bits(!less != c)}});
      negated.push_back({in, {bits(less && !c), bits(!less && !c)}});
    }
  }
  check_form({"setp.lt.and.s32 %o0|%o1, %i0, 2, %i1;", "rp", "pp"}, and_rows);
  check_form({"setp.lt.or.u32 %o0|%o1, %i0, 2, %i1;", "rp", "pp"}, or_rows);
  check_form({"setp.lt.xor.s32 %o0|%o1, %i0, 2, %i1;", "rp", "pp"}, xor_rows);
  check_form({"setp.lt.and.s32 %o0|%o1, %i0, 2, !%i1;", "rp", "pp"}, negated);
  check_form({"setp.eq.s32 %o0|%o1, %i0, 2;", "r", "pp"}, {{{2}, {1, 0}}, {{3}, {0, 1}}});
  check_form({"setp.lt.and.f32 %o0, %i0, %i1, %i2;", "rrp", "p"},
             {{{bits(1.0F), bits(2.0F), 1}, {1}}, {{bits(1.0F), bits(2.0F), 0}, {0}}, {{kNanF32, bits(2.0F), 1}, {0}}});
}

TEST_CASE("an unordered complement is the negation, not the opposite comparison", "[ptx][compare]") {
  check_form({"setp.lt.f32 %o0|%o1, %i0, %i1;", "rr", "pp"},
             {{{kNanF32, bits(1.0F)}, {0, 1}}, {{0, bits(1.0F)}, {1, 0}}});
}

TEST_CASE("a predicate destination may be one of the sources", "[ptx][compare]") {
  check_form(
      {"mov.pred %p1, %i1; setp.lt.and.s32 %p1|%p2, %i0, 2, %p1; mov.pred %o0, %p1; mov.pred %o1, %p2;", "rp", "pp"},
      {{{1, 1}, {1, 0}}, {{3, 1}, {0, 1}}, {{1, 0}, {0, 0}}, {{3, 0}, {0, 0}}});
  check_form({"setp.lt.s32 _|%o0, %i0, 2;", "r", "p"}, {{{1}, {0}}, {{5}, {1}}});
}

TEST_CASE("set writes all ones or 1.0", "[ptx][compare]") {
  check_form({"set.lt.u32.s32 %o0, %i0, %i1;", "rr", "r"}, {{{1, 2}, {0xffffffff}}, {{2, 1}, {0}}});
  check_form({"set.lt.f32.s32 %o0, %i0, %i1;", "rr", "r"}, {{{1, 2}, {bits(1.0F)}}, {{2, 1}, {0}}});
  check_form({"set.gt.u32.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(2.0F), bits(1.0F)}, {0xffffffff}}, {{kNanF32, bits(1.0F)}, {0}}});
}

TEST_CASE("selp and slct select", "[ptx][compare]") {
  for (const std::string type : {"b32", "u32", "s32", "f32"}) {
    check_form({"selp." + type + " %o0, %i0, %i1, %i2;", "rrp", "r"}, {{{11, 22, 1}, {11}}, {{11, 22, 0}, {22}}});
  }
  for (const std::string type : {"b64", "u64", "s64", "f64"}) {
    check_form({"selp." + type + " %o0, %i0, %i1, %i2;", "ddp", "d"},
               {{{Word{11} << 40, 22, 1}, {Word{11} << 40}}, {{11, 22, 0}, {22}}});
  }
  for (const std::string type : {"b16", "u16", "s16"}) {
    check_form({"selp." + type + " %o0, %i0, %i1, %i2;", "hhp", "h"}, {{{11, 22, 1}, {11}}, {{11, 22, 0}, {22}}});
  }
  check_form({"selp.b32 %o0, 5, -1, %i0;", "p", "r"}, {{{1}, {5}}, {{0}, {0xffffffff}}});
  check_form({"slct.s32.s32 %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{11, 22, 0}, {11}}, {{11, 22, 0xffffffff}, {22}}, {{11, 22, 4}, {11}}});
  check_form_or_refusal({"slct.u32.f32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{11, 22, bits(1.0F)}, {11}},
                                                                           {{11, 22, bits(-1.0F)}, {22}},
                                                                           {{11, 22, kNanF32}, {22}},
                                                                           {{11, 22, 0x80000000}, {11}}});
}

}  // namespace librt::ptx::test
