// f32 and f64 arithmetic that IEEE 754 fixes to the last bit: rounding modes, subnormals, .ftz, .sat, NaN, minimum and
// maximum.
#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kMin = std::numeric_limits<float>::denorm_min();
constexpr float kMax = std::numeric_limits<float>::max();

// Exponents lie close enough together for every sum and product to be exact in 64 bits of significand.
const std::vector<float> kExact{1.0F,          -1.0F,           1.5F,       3.0F, -0.3F,         0x1.fffffep0F,
                                0x1.000002p0F, -0x1.234568p-7F, 0x1.8p-12F, 7.0F, 0x1.abcdeep5F, 1e-3F,
                                1e3F,          -0x1.fffffep9F};

const std::vector<std::pair<std::string, Rounding>> kModes{
    {"rn", Rounding::nearest}, {"rz", Rounding::zero}, {"rm", Rounding::down}, {"rp", Rounding::up}};

template <class T>
void check_rounding(const std::string& type) {
  const std::string in2(2, letter<T>()), in3(3, letter<T>()), out{letter<T>()};
  std::vector<T> values;
  for (const float v : kExact) values.push_back(static_cast<T>(v));
  for (const auto& [mode_name, mode] : kModes) {
    std::vector<Example> sums, differences, products, fused;
    for (const T a : values) {
      for (const T b : values) {
        const long double x = a, y = b;
        products.push_back({{bits(a), bits(b)}, {bits(rounded<T>(x * y, mode))}});
        // An exact zero takes its sign from the mode; the case of its own below covers it.
        if (x + y != 0) sums.push_back({{bits(a), bits(b)}, {bits(rounded<T>(x + y, mode))}});
        if (x != y) differences.push_back({{bits(a), bits(b)}, {bits(rounded<T>(x - y, mode))}});
        const T c = static_cast<T>(0x1p-8);
        fused.push_back({{bits(a), bits(b), bits(c)}, {bits(rounded<T>(x * y + c, mode))}});
      }
    }
    // Directed rounding of f64 is beyond what decode kernels use.
    const bool optional = std::is_same_v<T, double> && mode != Rounding::nearest;
    const auto check = optional ? check_form_or_refusal : check_form;
    check({"add." + mode_name + "." + type + " %o0, %i0, %i1;", in2, out}, sums, {});
    check({"sub." + mode_name + "." + type + " %o0, %i0, %i1;", in2, out}, differences, {});
    check({"mul." + mode_name + "." + type + " %o0, %i0, %i1;", in2, out}, products, {});
    check({"fma." + mode_name + "." + type + " %o0, %i0, %i1, %i2;", in3, out}, fused, {});
  }
}

template <class T>
void check_default_is_nearest(const std::string& type) {
  check_binary<T, T>("add." + type, {T{1}, static_cast<T>(0.1), static_cast<T>(1e8), T{-3}},
                     [](T a, T b) { return a + b; });
  check_binary<T, T>("sub." + type, {T{1}, static_cast<T>(0.1), static_cast<T>(1e8), T{-3}},
                     [](T a, T b) { return a - b; });
  check_binary<T, T>("mul." + type, {T{1}, static_cast<T>(0.1), static_cast<T>(1e8), T{-3}},
                     [](T a, T b) { return a * b; });
}

}  // namespace

TEST_CASE("f32 sums, products and fused products round once in every mode", "[ptx][float]") {
  check_rounding<float>("f32");
  check_default_is_nearest<float>("f32");
}

TEST_CASE("f64 arithmetic", "[ptx][float]") {
  // Operands of 24 bits: their sums and products are exact in 64, so only a longer operand makes f64 round.
  check_rounding<double>("f64");
  check_default_is_nearest<double>("f64");
  const double third = 1.0 / 3.0;
  check_form({"fma.rn.f64 %o0, %i0, %i1, %i2;", "ddd", "d"},
             {{{bits(third), bits(3.0), bits(-1.0)}, {bits(std::fma(third, 3.0, -1.0))}}});
  check_form_or_refusal({"add.rz.f64 %o0, %i0, %i1;", "dd", "d"},
                        {{{bits(1.0), bits(0x1.8p-53)}, {bits(1.0)}}, {{bits(-1.0), bits(-0x1.8p-53)}, {bits(-1.0)}}});
  check_form_or_refusal({"add.rp.f64 %o0, %i0, %i1;", "dd", "d"},
                        {{{bits(1.0), bits(0x1p-80)}, {bits(0x1.0000000000001p0)}}});
  check_form_or_refusal({"mul.rm.f64 %o0, %i0, %i1;", "dd", "d"},
                        {{{bits(0x1.0000000000001p0), bits(0x1.0000000000001p0)}, {bits(0x1.0000000000002p0)}}});
  check_form({"div.rn.f64 %o0, %i0, %i1;", "dd", "d"},
             {{{bits(1.0), bits(3.0)}, {bits(third)}}, {{bits(1.0), bits(0.0)}, {0x7ff0000000000000}}});
  check_form({"sqrt.rn.f64 %o0, %i0;", "d", "d"}, {{{bits(2.0)}, {bits(std::sqrt(2.0))}}, {{bits(9.0)}, {bits(3.0)}}});
  check_form({"rcp.rn.f64 %o0, %i0;", "d", "d"}, {{{bits(3.0)}, {bits(third)}}, {{bits(-4.0)}, {bits(-0.25)}}});
}

TEST_CASE("f32 division, reciprocal and square root are correctly rounded where .rn says so", "[ptx][float]") {
  const std::vector<float> values{1.0F, 3.0F, -7.0F, 0.1F, 1e30F, 1e-30F, 0x1.fffffep0F, 5e-40F};
  // A quotient of two f32 that is rounded to f64 first still rounds right to f32: 53 >= 2 * 24 + 2 (normal results).
  check_binary<float, float>("div.rn.f32", values, [](float a, float b) { return a / b; });
  check_unary<float, float>("rcp.rn.f32", values, [](float a) { return 1.0F / a; });
  check_form({"sqrt.rn.f32 %o0, %i0;", "r", "r"}, {{{bits(2.0F)}, {0x3fb504f3}},
                                                   {{bits(0.0F)}, {0}},
                                                   {{bits(-0.0F)}, {0x80000000}},
                                                   {{bits(-1.0F)}, {kNanF32}},
                                                   {{kInfF32}, {kInfF32}}});
  check_form_or_refusal({"div.rz.f32 %o0, %i0, %i1;", "rr", "r"},
                        {{{bits(2.0F), bits(3.0F)}, {0x3f2aaaaa}}, {{bits(1.0F), bits(3.0F)}, {0x3eaaaaaa}}});
  check_form_or_refusal({"div.rp.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(2.0F), bits(3.0F)}, {0x3f2aaaab}},
                                                                   {{bits(1.0F), bits(3.0F)}, {0x3eaaaaab}},
                                                                   {{bits(-1.0F), bits(3.0F)}, {0xbeaaaaaa}}});
  check_form_or_refusal({"div.rm.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(-1.0F), bits(3.0F)}, {0xbeaaaaab}}});
  check_form_or_refusal({"rcp.rz.f32 %o0, %i0;", "r", "r"}, {{{bits(3.0F)}, {0x3eaaaaaa}}});
  check_form_or_refusal({"sqrt.rz.f32 %o0, %i0;", "r", "r"},
                        {{{bits(2.0F)}, {0x3fb504f3}}, {{bits(3.0F)}, {0x3fddb3d7}}});
  check_form_or_refusal({"sqrt.rp.f32 %o0, %i0;", "r", "r"}, {{{bits(2.0F)}, {0x3fb504f4}}});
}

TEST_CASE("an exact zero takes its sign from the rounding mode", "[ptx][float]") {
  const Example positive{{bits(1.5F), bits(-1.5F)}, {0}}, negative{{bits(1.5F), bits(-1.5F)}, {0x80000000}};
  const Example both_negative{{0x80000000, 0x80000000}, {0x80000000}};
  check_form({"add.rn.f32 %o0, %i0, %i1;", "rr", "r"}, {positive, both_negative});
  check_form({"add.rz.f32 %o0, %i0, %i1;", "rr", "r"}, {positive, both_negative});
  check_form({"add.rp.f32 %o0, %i0, %i1;", "rr", "r"}, {positive, both_negative});
  check_form({"add.rm.f32 %o0, %i0, %i1;", "rr", "r"}, {negative, both_negative});
}

TEST_CASE("overflow and infinities", "[ptx][float]") {
  check_form({"add.rn.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(kMax), bits(kMax)}, {kInfF32}}, {{kInfF32, bits(-1.0F)}, {kInfF32}}});
  check_form({"add.rz.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(kMax), bits(kMax)}, {bits(kMax)}}, {{bits(-kMax), bits(-kMax)}, {bits(-kMax)}}});
  check_form({"mul.rm.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(kMax), bits(2.0F)}, {bits(kMax)}}, {{bits(kMax), bits(-2.0F)}, {bits(-kInf)}}});
  check_form({"mul.rp.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(kMax), bits(2.0F)}, {kInfF32}}, {{bits(kMax), bits(-2.0F)}, {bits(-kMax)}}});
}

TEST_CASE("f32 arithmetic returns the canonical NaN whatever came in", "[ptx][float]") {
  for (const Word nan : {Word{0x7fc00001}, Word{0xffc12345}, Word{0x7f800001}, Word{0xff812345}}) {
    check_form({"add.f32 %o0, %i0, %i1;", "rr", "r"}, {{{nan, bits(1.0F)}, {kNanF32}}, {{bits(1.0F), nan}, {kNanF32}}});
    check_form({"sub.f32 %o0, %i0, %i1;", "rr", "r"}, {{{nan, nan}, {kNanF32}}});
    check_form({"mul.f32 %o0, %i0, %i1;", "rr", "r"}, {{{nan, 0}, {kNanF32}}, {{0, nan}, {kNanF32}}});
    check_form({"fma.rn.f32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{0, nan, 0}, {kNanF32}}, {{0, 0, nan}, {kNanF32}}});
    check_form({"div.rn.f32 %o0, %i0, %i1;", "rr", "r"}, {{{nan, bits(2.0F)}, {kNanF32}}});
  }
  check_form({"sub.f32 %o0, %i0, %i1;", "rr", "r"}, {{{kInfF32, kInfF32}, {kNanF32}}});
  check_form({"mul.f32 %o0, %i0, %i1;", "rr", "r"}, {{{kInfF32, 0}, {kNanF32}}});
  check_form({"fma.rn.f32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{kInfF32, bits(1.0F), bits(-kInf)}, {kNanF32}}});
  check_form({"div.rn.f32 %o0, %i0, %i1;", "rr", "r"}, {{{0, 0}, {kNanF32}}, {{bits(-1.0F), 0}, {bits(-kInf)}}});
}

TEST_CASE("subnormals are kept without .ftz and flushed with it, sign preserved", "[ptx][float]") {
  const float tiny = 0x1p-126F;
  check_form({"add.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(kMin), bits(kMin)}, {2}}});
  check_form({"add.ftz.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(kMin), bits(kMin)}, {0}},
                                                         {{bits(-kMin), bits(-kMin)}, {0x80000000}},
                                                         {{bits(kMin), bits(1.0F)}, {bits(1.0F)}}});
  check_form({"mul.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(tiny), bits(0.5F)}, {0x00400000}}});
  check_form(
      {"mul.ftz.f32 %o0, %i0, %i1;", "rr", "r"},
      {{{bits(tiny), bits(0.5F)}, {0}}, {{bits(tiny), bits(-0.5F)}, {0x80000000}}, {{bits(kMin), bits(1e30F)}, {0}}});
  check_form({"sub.ftz.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(1.5F * tiny), bits(tiny)}, {0}}});
  check_form({"fma.rn.ftz.f32 %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{bits(tiny), bits(0.25F), 0}, {0}}, {{bits(kMin), bits(kMax), bits(1.0F)}, {bits(1.0F)}}});
  check_form({"fma.rn.f32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{bits(tiny), bits(0.25F), 0}, {0x00200000}}});
  check_form({"min.ftz.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(kMin), bits(1.0F)}, {0}}});
  check_form({"max.ftz.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(kMin), bits(-1.0F)}, {0}}});
  check_form({"abs.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(-kMin)}, {0}}});
  check_form({"neg.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(kMin)}, {0x80000000}}});
  check_form({"div.rn.ftz.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(tiny), bits(2.0F)}, {0}}, {{bits(kMin), bits(kMin)}, {kNanF32}}});
  check_form({"sqrt.rn.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(kMin)}, {0}}});
}

TEST_CASE(".sat clamps to 0..1 and turns NaN into 0", "[ptx][float]") {
  check_form({"add.sat.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(0.25F), bits(0.5F)}, {bits(0.75F)}},
                                                         {{bits(2.0F), bits(0.5F)}, {bits(1.0F)}},
                                                         {{bits(-2.0F), bits(0.5F)}, {0}},
                                                         {{kNanF32, bits(0.5F)}, {0}}});
  check_form({"sub.sat.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(9.0F), bits(0.5F)}, {bits(1.0F)}}});
  check_form({"mul.sat.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(-1.0F), bits(0.5F)}, {0}}, {{bits(4.0F), bits(0.125F)}, {bits(0.5F)}}});
  check_form({"mul.rz.ftz.sat.f32 %o0, %i0, %i1;", "rr", "r"}, {{{bits(4.0F), bits(4.0F)}, {bits(1.0F)}}});
  check_form({"fma.rn.sat.f32 %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{bits(4.0F), bits(4.0F), bits(-15.5F)}, {bits(0.5F)}}, {{bits(4.0F), bits(4.0F), 0}, {bits(1.0F)}}});
}

TEST_CASE("minimum and maximum drop NaN unless .NaN, and order the zeros", "[ptx][float]") {
  const Word one = bits(1.0F), two = bits(2.0F), nan = 0x7fc00001, negative_zero = 0x80000000;
  check_form({"min.f32 %o0, %i0, %i1;", "rr", "r"}, {{{one, two}, {one}},
                                                     {{nan, two}, {two}},
                                                     {{one, nan}, {one}},
                                                     {{nan, nan}, {kNanF32}},
                                                     {{0, negative_zero}, {negative_zero}},
                                                     {{negative_zero, 0}, {negative_zero}}});
  check_form({"max.f32 %o0, %i0, %i1;", "rr", "r"}, {{{one, two}, {two}},
                                                     {{nan, two}, {two}},
                                                     {{bits(-kInf), nan}, {bits(-kInf)}},
                                                     {{nan, nan}, {kNanF32}},
                                                     {{0, negative_zero}, {0}},
                                                     {{negative_zero, 0}, {0}}});
  check_form({"min.NaN.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{one, two}, {one}}, {{nan, two}, {kNanF32}}, {{one, nan}, {kNanF32}}});
  check_form({"max.NaN.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{one, two}, {two}}, {{nan, two}, {kNanF32}}, {{one, nan}, {kNanF32}}});
  check_form({"max.ftz.NaN.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(kMin), bits(-1.0F)}, {0}}, {{one, nan}, {kNanF32}}});
  check_form_or_refusal({"max.xorsign.abs.f32 %o0, %i0, %i1;", "rr", "r"},
                        {{{bits(-3.0F), two}, {bits(-3.0F)}}, {{bits(-3.0F), bits(-4.0F)}, {bits(4.0F)}}});
  check_form_or_refusal({"min.xorsign.abs.f32 %o0, %i0, %i1;", "rr", "r"},
                        {{{bits(-3.0F), two}, {bits(-2.0F)}}, {{one, two}, {one}}});
  check_form({"min.f64 %o0, %i0, %i1;", "dd", "d"},
             {{{bits(1.0), bits(-2.0)}, {bits(-2.0)}}, {{kNanF64, bits(3.0)}, {bits(3.0)}}});
  check_form({"max.f64 %o0, %i0, %i1;", "dd", "d"},
             {{{bits(1.0), bits(-2.0)}, {bits(1.0)}}, {{bits(3.0), kNanF64}, {bits(3.0)}}});
}

TEST_CASE("neg, abs, copysign and mov of floats are about the sign bit", "[ptx][float]") {
  check_form({"neg.f32 %o0, %i0;", "r", "r"},
             {{{bits(1.0F)}, {bits(-1.0F)}}, {{0}, {0x80000000}}, {{1}, {0x80000001}}});
  check_form({"abs.f32 %o0, %i0;", "r", "r"},
             {{{bits(-1.0F)}, {bits(1.0F)}}, {{bits(-kInf)}, {kInfF32}}, {{0x80000001}, {1}}});
  check_form({"neg.f64 %o0, %i0;", "d", "d"}, {{{bits(1.0)}, {bits(-1.0)}}});
  check_form({"abs.f64 %o0, %i0;", "d", "d"}, {{{bits(-1.5)}, {bits(1.5)}}});
  check_form({"copysign.f32 %o0, %i0, %i1;", "rr", "r"},
             {{{bits(-1.0F), bits(3.0F)}, {bits(-3.0F)}}, {{bits(1.0F), bits(-3.0F)}, {bits(3.0F)}}});
  check_form({"mov.f32 %o0, %i0;", "r", "r"}, {{{0x7f812345}, {0x7f812345}}});
  check_form({"mov.f32 %o0, 0fBF800000;", "", "r"}, {{{}, {bits(-1.0F)}}});
  check_form({"mov.f64 %o0, 0d400921FB54442D18;", "", "d"}, {{{}, {0x400921fb54442d18}}});
  check_form({"add.f32 %o0, %i0, 0f3F800000;", "r", "r"}, {{{bits(1.0F)}, {bits(2.0F)}}});
  check_form({"add.f32 %o0, %i0, 2.5;", "r", "r"}, {{{bits(1.0F)}, {bits(3.5F)}}});
  check_form({"add.f64 %o0, %i0, 0.1;", "d", "d"}, {{{bits(0.0)}, {bits(0.1)}}});
}

TEST_CASE("testp classifies", "[ptx][float]") {
  const std::vector<Word> values{bits(1.0F), 1, 0, kInfF32, kNanF32, bits(-kInf)};
  const auto expect = [&](const std::string& kind, const std::vector<bool>& truth) {
    std::vector<Example> examples;
    for (std::size_t i = 0; i < values.size(); ++i) examples.push_back({{values[i]}, {bits(bool{truth[i]})}});
    check_form({"testp." + kind + ".f32 %o0, %i0;", "r", "p"}, examples);
  };
  expect("finite", {true, true, true, false, false, false});
  expect("infinite", {false, false, false, true, false, true});
  expect("number", {true, true, true, true, false, true});
  expect("notanumber", {false, false, false, false, true, false});
  expect("normal", {true, false, false, false, false, false});
  expect("subnormal", {false, true, false, false, false, false});
}

}  // namespace librt::ptx::test
