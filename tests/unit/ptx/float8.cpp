// Conversions to and from pairs of e4m3 and e5m2, against the values that the formats define.
#include <cmath>
#include <limits>

#include "tests/unit/ptx/rounding.hpp"
#include "tests/unit/ptx/taint_harness.hpp"

namespace librt::ptx::test {
namespace {

struct Float8 {
  std::string type;
  int fraction_bits, bias;
  Word most, infinity;  // infinity: 0x80 where the format has none
};
const Float8 kFloat8[] = {{"e4m3x2", 3, 7, 0x7e, 0x80}, {"e5m2x2", 2, 15, 0x7b, 0x7c}};

double value_of(const Float8& format, Word bits) {
  const Word magnitude = bits & 0x7f;
  const double sign = (bits & 0x80) != 0 ? -1 : 1;
  if (magnitude == format.infinity) return sign * std::numeric_limits<double>::infinity();
  if (magnitude > format.most) return std::numeric_limits<double>::quiet_NaN();
  const auto exponent = static_cast<int>(magnitude >> format.fraction_bits);
  const auto fraction = static_cast<double>(magnitude & ((Word{1} << format.fraction_bits) - 1));
  const double unit = std::ldexp(1.0, -format.fraction_bits);
  return sign * (exponent == 0 ? std::ldexp(fraction * unit, 1 - format.bias)
                               : std::ldexp(1 + fraction * unit, exponent - format.bias));
}

/// By search: the nearest of all numbers of the format, of two equally near ones the even one.
Word nearest(const Float8& format, double value) {
  if (std::isnan(value)) return 0x7f;
  Word best = 0;
  const double magnitude = std::fabs(value);
  for (Word bits = 0; bits <= format.most; ++bits) {
    const double distance = std::fabs(magnitude - value_of(format, bits));
    const double so_far = std::fabs(magnitude - value_of(format, best));
    if (distance < so_far || (distance == so_far && bits % 2 == 0)) best = bits;
  }
  if (magnitude > value_of(format, format.most)) best = format.most;
  return best | (std::signbit(value) ? 0x80u : 0u);
}

std::vector<float> samples(const Float8& format) {
  std::vector<float> values = {
      1e-30f, 1e30f, 3.4e38f, 1e-44f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  for (Word bits = 0; bits <= format.most; ++bits) {
    const auto here = static_cast<float>(value_of(format, bits)), next = static_cast<float>(value_of(format, bits + 1));
    values.push_back(here);
    if (bits == format.most) {
      for (const float factor : {1.01f, 1.0625f, 1.07f, 1.2f, 2.0f}) values.push_back(here * factor);
      continue;
    }
    const float middle = here + (next - here) / 2;
    for (const float v : {middle, std::nextafter(middle, here), std::nextafter(middle, next)}) values.push_back(v);
  }
  for (std::size_t i = values.size(); i-- > 0;) values.push_back(-values[i]);
  return values;
}

Word without_negative(Word bits) {
  return (bits & 0x80) != 0 ? 0 : bits;
}

}  // namespace

TEST_CASE("f32 pairs become e4m3 and e5m2, to nearest even and saturated", "[ptx][float8]") {
  for (const Float8& format : kFloat8) {
    std::vector<Example> plain, relu;
    const std::vector<float> values = samples(format);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float a = values[i], b = values[(i * 7 + 3) % values.size()];
      const Word high = nearest(format, static_cast<double>(a)), low = nearest(format, static_cast<double>(b));
      plain.push_back({{bits(a), bits(b)}, {high << 8 | low}});
      relu.push_back({{bits(a), bits(b)}, {without_negative(high) << 8 | without_negative(low)}});
    }
    check_form({"cvt.rn.satfinite." + format.type + ".f32 %o0, %i0, %i1;", "rr", "h"}, plain);
    check_form({"cvt.rn.satfinite.relu." + format.type + ".f32 %o0, %i0, %i1;", "rr", "h"}, relu);
  }
}

TEST_CASE("f16 pairs become e4m3 and e5m2", "[ptx][float8]") {
  for (const Float8& format : kFloat8) {
    std::vector<Example> plain, relu;
    for (Word a = 0; a < 0x10000; a += 13) {
      const Word b = a * 40503 & 0xffff;
      const Word high = nearest(format, static_cast<double>(decode(b, kF16))),
                 low = nearest(format, static_cast<double>(decode(a, kF16)));
      plain.push_back({{b << 16 | a}, {high << 8 | low}});
      relu.push_back({{b << 16 | a}, {without_negative(high) << 8 | without_negative(low)}});
    }
    check_form({"cvt.rn.satfinite." + format.type + ".f16x2 %o0, %i0;", "r", "h"}, plain);
    check_form({"cvt.rn.satfinite.relu." + format.type + ".f16x2 %o0, %i0;", "r", "h"}, relu);
  }
}

TEST_CASE("every e4m3 and e5m2 has its f16", "[ptx][float8]") {
  for (const Float8& format : kFloat8) {
    std::vector<Example> plain, relu;
    for (Word low = 0; low < 256; ++low) {
      const Word high = low * 167 & 0xff;
      const auto half = [&](Word bits) { return encode(static_cast<long double>(value_of(format, bits)), kF16); };
      const auto positive = [&](Word bits) { return (half(bits) & 0x8000) != 0 ? Word{0} : half(bits); };
      plain.push_back({{high << 8 | low}, {half(high) << 16 | half(low)}});
      relu.push_back({{high << 8 | low}, {positive(high) << 16 | positive(low)}});
    }
    check_form({"cvt.rn.f16x2." + format.type + " %o0, %i0;", "h", "r"}, plain);
    check_form({"cvt.rn.relu.f16x2." + format.type + " %o0, %i0;", "h", "r"}, relu);
  }
}

TEST_CASE("other conversions of 8-bit numbers are refused", "[ptx][float8]") {
  for (const std::string form :
       {"cvt.rn.e4m3x2.f32 %h1, %r1, %r2;", "cvt.rz.satfinite.e4m3x2.f32 %h1, %r1, %r2;",
        "cvt.rn.sat.e5m2x2.f32 %h1, %r1, %r2;", "cvt.satfinite.e4m3x2.f16x2 %h1, %r1;", "cvt.rn.e4m3x2.f16x2 %h1, %r1;",
        "cvt.rn.satfinite.e4m3x2.bf16x2 %h1, %r1;", "cvt.f16x2.e4m3x2 %r1, %h1;", "cvt.rn.bf16x2.e4m3x2 %r1, %h1;",
        "cvt.rn.satfinite.f16x2.e4m3x2 %r1, %h1;", "cvt.rn.satfinite.e5m2x2.e4m3x2 %h1, %h2;",
        "cvt.rn.satfinite.f16.f32 %h1, %r1;", "cvt.rn.f16x2.bf16x2 %r1, %r2;", "cvt.rn.f16.e4m3x2 %h1, %h2;"})
    check_refused(form, form.substr(0, form.find(' ')));
}

TEST_CASE("labels of 8-bit numbers stay in their half", "[ptx][float8][taint]") {
  CHECK(labels_after({"cvt.rn.satfinite.e4m3x2.f32 %o0, %i0, %i1;", "rr", "h"}, {{{0}, {0x01000000}}, {{0}, {0x02}}}) ==
        0x0102);
  CHECK(labels_after({"cvt.rn.satfinite.e5m2x2.f16x2 %o0, %i0;", "r", "h"}, {{{0}, {0x04000000}}}) == 0x0400);
  CHECK(labels_after({"cvt.rn.satfinite.e5m2x2.f16x2 %o0, %i0;", "r", "h"}, {{{0}, {0x0100}}}) == 0x01);
  CHECK(labels_after({"cvt.rn.f16x2.e4m3x2 %o0, %i0;", "h", "r"}, {{{0}, {0x0201}}}) == 0x02020101);
  CHECK(labels_after({"cvt.rn.f16x2.e4m3x2 %o0, %i0;", "h", "r"}, {{{0}, {0x02}}}) == 0x0202);
}

}  // namespace librt::ptx::test
