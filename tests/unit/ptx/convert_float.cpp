// cvt between floating-point formats, single and packed.
#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

const std::vector<float> kValues{
    0.0F,           -0.0F,    1.0F,     -1.0F,    0.1F,  -0.3F, 1.00390625F, 1.01171875F, 1.00048828125F,
    1.00146484375F, 65504.0F, 65519.0F, 65520.0F, -1e6F, 1e38F, 3.4e38F,     6.1e-5F,     6.0e-8F,
    2.9e-8F,        3.1e-8F,  1e-40F,   -1e-40F,  kInf,  -kInf, 3.14159265F};

void check_narrowing(const std::string& type, const Format& format) {
  for (const auto& [mode_name, mode] :
       std::vector<std::pair<std::string, Rounding>>{{"rn", Rounding::nearest}, {"rz", Rounding::zero}}) {
    std::vector<Example> single, packed;
    for (std::size_t i = 0; i < kValues.size(); ++i) {
      const float a = kValues[i], b = kValues[(i * 7 + 3) % kValues.size()];
      single.push_back({{bits(a)}, {encode(a, format, mode)}});
      // The first source becomes the upper half.
      packed.push_back({{bits(a), bits(b)}, {encode(a, format, mode) << 16 | encode(b, format, mode)}});
    }
    for (const Word nan : {Word{0x7fc00000}, Word{0xffc00001}, Word{0x7f800001}}) {
      single.push_back({{nan}, {kNanHalf}});
      packed.push_back({{nan, bits(1.0F)}, {kNanHalf << 16 | encode(1, format)}});
    }
    check_form({"cvt." + mode_name + "." + type + ".f32 %o0, %i0;", "r", "h"}, single);
    check_form({"cvt." + mode_name + "." + type + "x2.f32 %o0, %i0, %i1;", "rr", "r"}, packed);
  }
  const Word one = encode(1, format);
  check_form({"cvt.rn.relu." + type + ".f32 %o0, %i0;", "r", "h"},
             {{{bits(-2.0F)}, {0}}, {{bits(1.0F)}, {one}}, {{kNanF32}, {kNanHalf}}});
  check_form({"cvt.rn.relu." + type + "x2.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(-2.0F), bits(1.0F)}, {one}}, {{bits(1.0F), bits(-2.0F)}, {one << 16}}});
}

}  // namespace

TEST_CASE("cvt from f32 to f16 and bf16, single and packed", "[ptx][convert]") {
  check_narrowing("f16", kF16);
  check_narrowing("bf16", kBf16);
}

TEST_CASE("cvt to bf16 by hand", "[ptx][convert]") {
  check_form({"cvt.rn.bf16.f32 %o0, %i0;", "r", "h"}, {{{0x3f808000}, {0x3f80}},
                                                       {{0x3f818000}, {0x3f82}},
                                                       {{0x3f808001}, {0x3f81}},
                                                       {{0x7f7fffff}, {0x7f80}},
                                                       {{0x00008000}, {0}},
                                                       {{0x00018000}, {2}}});
  check_form({"cvt.rz.bf16.f32 %o0, %i0;", "r", "h"},
             {{{0x3f80ffff}, {0x3f80}}, {{0x7f7fffff}, {0x7f7f}}, {{0xbf81ffff}, {0xbf81}}});
  check_form({"cvt.rn.bf16x2.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(1.0F), bits(-2.0F)}, {0x3f80c000}}});
  check_form({"cvt.rn.f16x2.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(1.0F), bits(-2.0F)}, {0x3c00c000}}});
}

TEST_CASE("cvt widens every f16 and bf16 exactly", "[ptx][convert]") {
  std::vector<Example> from_half, from_bfloat;
  for (Word word = 0; word < 0x10000; word += 37) {
    const bool half_nan = (word & 0x7fff) > 0x7c00, bfloat_nan = (word & 0x7fff) > 0x7f80;
    if (!half_nan) from_half.push_back({{word}, {bits(static_cast<float>(decode(word, kF16)))}});
    if (!bfloat_nan) from_bfloat.push_back({{word}, {word << 16}});
  }
  from_half.push_back({{0x7e01}, {kNanF32}});
  from_half.push_back({{0xfc01}, {kNanF32}});
  check_form({"cvt.f32.f16 %o0, %i0;", "h", "r"}, from_half);
  check_form({"cvt.f32.bf16 %o0, %i0;", "h", "r"}, from_bfloat);
  check_form({"cvt.f64.f16 %o0, %i0;", "h", "d"}, {{{0x3555}, {bits(0.333251953125)}}, {{1}, {bits(0x1p-24)}}});
}

TEST_CASE("cvt between f32 and f64", "[ptx][convert]") {
  check_form({"cvt.f64.f32 %o0, %i0;", "r", "d"}, {{{bits(0.1F)}, {bits(static_cast<double>(0.1F))}},
                                                   {{1}, {bits(0x1p-149)}},
                                                   {{bits(-kInf)}, {0xfff0000000000000}}});
  check_form({"cvt.ftz.f64.f32 %o0, %i0;", "r", "d"}, {{{1}, {0}}, {{0x80000001}, {Word{1} << 63}}});
  for (const auto& [name, mode] : std::vector<std::pair<std::string, Rounding>>{
           {"rn", Rounding::nearest}, {"rz", Rounding::zero}, {"rm", Rounding::down}, {"rp", Rounding::up}}) {
    std::vector<Example> examples;
    for (const double v : {0.1, -0.1, 1.0, 1e300, -1e300, 1e-42, 0x1.000001p0, 0x1.000003p0})
      examples.push_back({{bits(v)}, {bits(rounded<float>(v, mode))}});
    check_form({"cvt." + name + ".f32.f64 %o0, %i0;", "d", "r"}, examples);
  }
  check_form({"cvt.rn.ftz.f32.f64 %o0, %i0;", "d", "r"},
             {{{bits(1e-42)}, {0}}, {{bits(-1e-42)}, {0x80000000}}, {{bits(1.5)}, {bits(1.5F)}}});
  check_form({"cvt.rn.f32.f64 %o0, %i0;", "d", "r"}, {{{kNanF64}, {kNanF32}}});
  check_form({"cvt.rn.f16.f64 %o0, %i0;", "d", "h"},
             {{{bits(1.0 + 0x1p-11 + 0x1p-40)}, {0x3c01}}, {{bits(1.0 + 0x1p-11)}, {0x3c00}}});
}

TEST_CASE("cvt of f32 to an integral f32", "[ptx][convert]") {
  const auto expect = [](const std::string& mode, float v, float r) {
    check_form({"cvt." + mode + ".f32.f32 %o0, %i0;", "r", "r"}, {{{bits(v)}, {bits(r)}}});
  };
  expect("rni", 2.5F, 2.0F);
  expect("rni", 3.5F, 4.0F);
  expect("rni", -0.25F, -0.0F);
  expect("rzi", -2.75F, -2.0F);
  expect("rmi", -2.25F, -3.0F);
  expect("rpi", 2.25F, 3.0F);
  expect("rpi", -0.5F, -0.0F);
  expect("rni", 1e20F, 1e20F);
  check_form({"cvt.rzi.f64.f64 %o0, %i0;", "d", "d"}, {{{bits(-2.75)}, {bits(-2.0)}}});
  check_form({"cvt.sat.f32.f32 %o0, %i0;", "r", "r"},
             {{{bits(2.0F)}, {bits(1.0F)}}, {{bits(-2.0F)}, {0}}, {{kNanF32}, {0}}, {{bits(0.5F)}, {bits(0.5F)}}});
  check_form({"cvt.ftz.f32.f32 %o0, %i0;", "r", "r"},
             {{{1}, {0}}, {{0x80000001}, {0x80000000}}, {{bits(2.0F)}, {bits(2.0F)}}});
}

TEST_CASE("cvt saturates to 0..1 into f16", "[ptx][convert]") {
  check_form({"cvt.rn.sat.f16.f32 %o0, %i0;", "r", "h"},
             {{{bits(2.0F)}, {0x3c00}}, {{bits(-2.0F)}, {0}}, {{bits(0.5F)}, {0x3800}}, {{kNanF32}, {0}}});
}

TEST_CASE("cvt to tf32 keeps ten fraction bits", "[ptx][convert]") {
  check_form({"cvt.rna.tf32.f32 %o0, %i0;", "r", "r"}, {{{bits(1.0F)}, {bits(1.0F)}},
                                                        {{0x3f801000}, {0x3f802000}},
                                                        {{0x3f800fff}, {0x3f800000}},
                                                        {{0xbf803000}, {0xbf804000}}});
}

TEST_CASE("cvt packs and unpacks 8-bit floats", "[ptx][convert]") {
  // e4m3: 1.0 = 38, 448 = 7e, the largest; e5m2: 1.0 = 3c, 57344 = 7b. The first source becomes the upper byte.
  check_form_or_refusal({"cvt.rn.satfinite.e4m3x2.f32 %o0, %i0, %i1;", "rr", "h"},
                        {{{bits(1.0F), bits(-2.0F)}, {0x38c0}},
                         {{bits(1e9F), bits(-1e9F)}, {0x7efe}},
                         {{bits(0.0F), kNanF32}, {0x007f}},
                         {{bits(1.0625F), bits(1.1875F)}, {0x383a}}});
  check_form_or_refusal({"cvt.rn.satfinite.e5m2x2.f32 %o0, %i0, %i1;", "rr", "h"},
                        {{{bits(1.0F), bits(-2.0F)}, {0x3cc0}}, {{bits(1e9F), bits(1.0F)}, {0x7b3c}}});
  check_form_or_refusal(
      {"cvt.rn.f16x2.e4m3x2 %o0, %i0;", "h", "r"},
      {{{0x38c0}, {0x3c00c000}}, {{0x7efe}, {0x5f00df00}}, {{0x0001}, {0x00001800}}, {{0x7f00}, {kNanHalf << 16}}});
  check_form_or_refusal({"cvt.rn.f16x2.e5m2x2 %o0, %i0;", "h", "r"},
                        {{{0x3cc0}, {0x3c00c000}}, {{0x7c01}, {0x7c000100}}});
}

}  // namespace librt::ptx::test
