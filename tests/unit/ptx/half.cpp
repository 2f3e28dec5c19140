// f16 and bf16 arithmetic, single and packed: every result is the exact one rounded once to the format.
#include <algorithm>

#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

constexpr Word kNegativeZero = 0x8000;

std::vector<Word> samples(const Format& format) {
  std::vector<Word> words;
  for (const long double v :
       {0.0L, 1.0L, -1.0L, 1.5L, 3.0L, -0.1L, 0.3333L, 100.25L, -7.0L, 0.0078125L, 1.9990234375L, 250.0L})
    words.push_back(encode(v, format));
  words.push_back(kNegativeZero);
  return words;
}

using Operation = long double (*)(long double, long double);

/// All pairs in the single form, and the same pairs beside their mirror image in the packed form.
void check_pairs(const std::string& opcode, const std::string& type, const Format& format, Operation operation) {
  std::vector<Example> single, packed;
  for (const Word a : samples(format)) {
    for (const Word b : samples(format)) {
      const Word forward = encode(operation(decode(a, format), decode(b, format)), format);
      const Word backward = encode(operation(decode(b, format), decode(a, format)), format);
      single.push_back({{a, b}, {forward}});
      packed.push_back({{b << 16 | a, a << 16 | b}, {backward << 16 | forward}});
    }
  }
  check_form({opcode + "." + type + " %o0, %i0, %i1;", "hh", "h"}, single);
  check_form({opcode + "." + type + "x2 %o0, %i0, %i1;", "rr", "r"}, packed);
}

void check_fused(const std::string& type, const Format& format) {
  std::vector<Example> single, packed;
  for (const Word a : samples(format)) {
    for (const Word b : samples(format)) {
      for (const long double c : {0.5L, -3.25L, 0.0L}) {
        const Word addend = encode(c, format);
        const Word expected = encode(decode(a, format) * decode(b, format) + decode(addend, format), format);
        single.push_back({{a, b, addend}, {expected}});
        packed.push_back({{a << 16 | b, b << 16 | a, addend << 16 | addend}, {expected << 16 | expected}});
      }
    }
  }
  check_form({"fma.rn." + type + " %o0, %i0, %i1, %i2;", "hhh", "h"}, single);
  check_form({"fma.rn." + type + "x2 %o0, %i0, %i1, %i2;", "rrr", "r"}, packed);
}

void check_format(const std::string& type, const Format& format) {
  check_pairs("add", type, format, [](long double a, long double b) { return a + b; });
  check_pairs("sub", type, format, [](long double a, long double b) { return a - b; });
  check_pairs("mul", type, format, [](long double a, long double b) { return a * b; });
  check_pairs("add.rn", type, format, [](long double a, long double b) { return a + b; });
  check_pairs("mul.rn", type, format, [](long double a, long double b) { return a * b; });
  check_fused(type, format);
}

void check_extremes(const std::string& type, const Format& format) {
  const Word one = encode(1, format), two = encode(2, format), three = encode(-3, format), nan = 0x7fff & ~Word{2};
  const Word infinity = encode(std::numeric_limits<long double>::infinity(), format);
  const std::vector<Example> minimum{{{one, two}, {one}},      {{three, two}, {three}},
                                     {{nan, two}, {two}},      {{two, nan}, {two}},
                                     {{nan, nan}, {kNanHalf}}, {{0, kNegativeZero}, {kNegativeZero}},
                                     {{infinity, one}, {one}}};
  const std::vector<Example> maximum{{{one, two}, {two}},          {{three, two}, {two}},    {{nan, three}, {three}},
                                     {{two, nan}, {two}},          {{nan, nan}, {kNanHalf}}, {{kNegativeZero, 0}, {0}},
                                     {{infinity, one}, {infinity}}};
  const auto both = [](std::vector<Example> examples) {
    for (Example& e : examples) {
      for (Words* words : {&e.in, &e.out}) {
        for (Word& word : *words) word |= word << 16;
      }
    }
    return examples;
  };
  check_form({"min." + type + " %o0, %i0, %i1;", "hh", "h"}, minimum);
  check_form({"max." + type + " %o0, %i0, %i1;", "hh", "h"}, maximum);
  check_form({"min." + type + "x2 %o0, %i0, %i1;", "rr", "r"}, both(minimum));
  check_form({"max." + type + "x2 %o0, %i0, %i1;", "rr", "r"}, both(maximum));
  check_form({"max.NaN." + type + " %o0, %i0, %i1;", "hh", "h"},
             {{{one, two}, {two}}, {{nan, two}, {kNanHalf}}, {{two, nan}, {kNanHalf}}});
  check_form({"min.NaN." + type + "x2 %o0, %i0, %i1;", "rr", "r"},
             {{{one << 16 | two, two << 16 | nan}, {one << 16 | kNanHalf}}});
  check_form_or_refusal({"max.xorsign.abs." + type + " %o0, %i0, %i1;", "hh", "h"},
                        {{{three, two}, {three}}, {{three, three}, {encode(3, format)}}});

  check_form({"neg." + type + " %o0, %i0;", "h", "h"},
             {{{one}, {one | 0x8000}}, {{three}, {three & 0x7fff}}, {{0}, {kNegativeZero}}});
  check_form({"abs." + type + " %o0, %i0;", "h", "h"}, {{{three}, {three & 0x7fff}}, {{kNegativeZero}, {0}}});
  check_form({"neg." + type + "x2 %o0, %i0;", "r", "r"},
             {{{one << 16 | three}, {(one | 0x8000) << 16 | (three & 0x7fff)}}});
  check_form({"abs." + type + "x2 %o0, %i0;", "r", "r"}, {{{three << 16 | one}, {(three & 0x7fff) << 16 | one}}});
  check_form({"fma.rn.relu." + type + " %o0, %i0, %i1, %i2;", "hhh", "h"},
             {{{one, three, one}, {0}}, {{one, two, one}, {encode(3, format)}}, {{nan, two, one}, {kNanHalf}}});
}

}  // namespace

TEST_CASE("f16 arithmetic rounds once", "[ptx][half]") {
  check_format("f16", kF16);
}

TEST_CASE("bf16 arithmetic rounds once", "[ptx][half]") {
  check_format("bf16", kBf16);
}

TEST_CASE("f16 and bf16 minimum, maximum and sign", "[ptx][half]") {
  check_extremes("f16", kF16);
  check_extremes("bf16", kBf16);
}

TEST_CASE("f16 constants by their bits", "[ptx][half]") {
  // By hand: 1.0 = 3c00, 65504 = 7bff, the least subnormal = 0001, the least normal = 0400.
  check_form({"add.f16 %o0, %i0, %i1;", "hh", "h"}, {{{0x3c00, 0x3c00}, {0x4000}},
                                                     {{0x7bff, 0x7bff}, {0x7c00}},
                                                     {{0x0001, 0x0001}, {0x0002}},
                                                     {{0x3c00, 0x1000}, {0x3c00}},
                                                     {{0x3c01, 0x1000}, {0x3c02}}});
  check_form({"mul.f16 %o0, %i0, %i1;", "hh", "h"}, {{{0x0400, 0x3800}, {0x0200}},
                                                     {{0x7bff, 0x4000}, {0x7c00}},
                                                     {{0x0001, 0x3800}, {0}},
                                                     {{0x0003, 0x3800}, {0x0002}}});
  check_form({"add.f16 %o0, %i0, %i1;", "hh", "h"}, {{{0x7c01, 0x3c00}, {kNanHalf}}, {{0x7c00, 0xfc00}, {kNanHalf}}});
  // (1 + 2^-10) * 2^-11 * (1 - 2^-10) lies 2^-31 below half a last place: rounded to f32 on the way it would be a tie.
  check_form({"fma.rn.f16 %o0, %i0, %i1, %i2;", "hhh", "h"}, {{{0x3c01, 0x0ffe, 0x3c01}, {0x3c01}},
                                                              {{0x3c01, 0x3c01, 0x0001}, {0x3c02}},
                                                              {{0x3c00, 0x1000, 0x3c00}, {0x3c00}}});
}

TEST_CASE("bf16 constants by their bits", "[ptx][half]") {
  check_form({"add.bf16 %o0, %i0, %i1;", "hh", "h"}, {{{0x3f80, 0x3f80}, {0x4000}},
                                                      {{0x3f80, 0x3b80}, {0x3f80}},
                                                      {{0x3f81, 0x3b80}, {0x3f82}},
                                                      {{0x0001, 0x0001}, {0x0002}},
                                                      {{0x7f80, 0xff80}, {kNanHalf}}});
  check_form({"mul.bf16 %o0, %i0, %i1;", "hh", "h"}, {{{0x4040, 0x4040}, {0x4110}}, {{0x7f7f, 0x4000}, {0x7f80}}});
  // The least subnormal is far below the last place, yet as the addend it must break the tie.
  check_form({"fma.rn.bf16 %o0, %i0, %i1, %i2;", "hhh", "h"},
             {{{0x3f81, 0x3fc0, 0x0001}, {0x3fc2}}, {{0x3f81, 0x3fc0, 0x8001}, {0x3fc1}}});
}

TEST_CASE("f16 .ftz flushes and .sat clamps", "[ptx][half]") {
  check_form({"add.ftz.f16 %o0, %i0, %i1;", "hh", "h"},
             {{{0x0001, 0x0001}, {0}}, {{0x8001, 0x8001}, {0x8000}}, {{0x0001, 0x3c00}, {0x3c00}}});
  check_form({"mul.ftz.f16x2 %o0, %i0, %i1;", "rr", "r"}, {{{0x04003c00, 0x38004000}, {0x00004000}}});
  check_form(
      {"add.sat.f16 %o0, %i0, %i1;", "hh", "h"},
      {{{0x3c00, 0x3c00}, {0x3c00}}, {{0xbc00, 0x3800}, {0}}, {{0x3400, 0x3400}, {0x3800}}, {{0x7e00, 0x3800}, {0}}});
  check_form({"fma.rn.sat.f16x2 %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{0x3c00bc00, 0x3c003c00, 0x3c000000}, {0x3c000000}}});
}

TEST_CASE("approximate f16 and bf16 functions", "[ptx][half]") {
  check_form({"ex2.approx.f16 %o0, %i0;", "h", "h"},
             {{{0}, {0x3c00}}, {{0x3c00}, {0x4000}}, {{0xfc00}, {0}}, {{0x7c00}, {0x7c00}}});
  check_form({"ex2.approx.ftz.bf16x2 %o0, %i0;", "r", "r"}, {{{0x3f800000}, {0x40003f80}}});
  check_form({"tanh.approx.f16 %o0, %i0;", "h", "h"}, {{{0}, {0}}, {{0x7c00}, {0x3c00}}, {{0xfc00}, {0xbc00}}});
}

}  // namespace librt::ptx::test
