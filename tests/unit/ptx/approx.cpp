// Approximate functions: within the error that the PTX ISA states, exact at the special values.
#include <functional>
#include <numbers>

#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Bound {
  double relative = 0;
  double absolute = 0;
};

void check_close(const std::string& opcode, const std::vector<float>& values, double (*exact)(double), Bound bound) {
  std::vector<Words> rows;
  for (const float v : values) rows.push_back({bits(v)});
  const std::vector<Words> results = run_lanes({opcode + " %o0, %i0;", "r", "r"}, rows);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double expected = exact(values[i]), got = as_float(results[i][0]);
    INFO(opcode << " of " << values[i] << " gave " << got << ", exact " << expected);
    CHECK(std::fabs(got - expected) <= bound.relative * std::fabs(expected) + bound.absolute);
  }
}

std::vector<float> spread(float from, float to, int count) {
  std::vector<float> values;
  for (int i = 0; i < count; ++i)
    values.push_back(from + (to - from) * static_cast<float>(i) / static_cast<float>(count - 1));
  return values;
}

std::vector<float> decades() {
  std::vector<float> values;
  for (int e = -30; e <= 30; ++e) values.push_back(static_cast<float>(std::pow(10.0, e) * 1.2345));
  return values;
}

}  // namespace

TEST_CASE("approximate functions keep their error bounds", "[ptx][approx]") {
  for (const std::string ftz : {"", ".ftz"}) {
    check_close("ex2.approx" + ftz + ".f32", spread(-20.0F, 20.0F, 200), [](double x) { return std::exp2(x); },
                {0x1p-22});
    check_close("lg2.approx" + ftz + ".f32", decades(), [](double x) { return std::log2(x); }, {0x1p-22, 0x1p-22});
    check_close("rcp.approx" + ftz + ".f32", decades(), [](double x) { return 1 / x; }, {0x1p-23});
    check_close("rsqrt.approx" + ftz + ".f32", decades(), [](double x) { return 1 / std::sqrt(x); }, {0x1p-22});
    check_close("sqrt.approx" + ftz + ".f32", decades(), [](double x) { return std::sqrt(x); }, {0x1p-22});
    check_close("sin.approx" + ftz + ".f32", spread(-3.14F, 3.14F, 100), [](double x) { return std::sin(x); },
                {0, 0x1p-20});
    check_close("cos.approx" + ftz + ".f32", spread(-3.14F, 3.14F, 100), [](double x) { return std::cos(x); },
                {0, 0x1p-20});
  }
  check_close("tanh.approx.f32", spread(-5.0F, 5.0F, 100), [](double x) { return std::tanh(x); }, {0x1p-11});
}

TEST_CASE("approximate division", "[ptx][approx]") {
  for (const std::string opcode : {"div.approx.f32", "div.approx.ftz.f32", "div.full.f32", "div.full.ftz.f32"}) {
    const std::vector<Words> rows{
        {bits(1.0F), bits(3.0F)}, {bits(-7.0F), bits(0.1F)}, {bits(1e20F), bits(1e-10F)}, {0, bits(5.0F)}};
    const std::vector<Words> results = run_lanes({opcode + " %o0, %i0, %i1;", "rr", "r"}, rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const double expected = static_cast<double>(as_float(rows[i][0])) / static_cast<double>(as_float(rows[i][1]));
      INFO(opcode << " row " << i);
      CHECK(std::fabs(static_cast<double>(as_float(results[i][0])) - expected) <= 0x1p-22 * std::fabs(expected));
    }
    check_form({opcode + " %o0, %i0, %i1;", "rr", "r"}, {{{0, 0}, {kNanF32}},
                                                         {{kInfF32, kInfF32}, {kNanF32}},
                                                         {{bits(1.0F), kInfF32}, {0}},
                                                         {{bits(1.0F), 0x80000000}, {bits(-kInf)}}});
  }
}

TEST_CASE("approximate functions at the special values", "[ptx][approx]") {
  const Word minus_inf = bits(-kInf), minus_zero = 0x80000000;
  for (const std::string ftz : {"", ".ftz"}) {
    check_form({"ex2.approx" + ftz + ".f32 %o0, %i0;", "r", "r"}, {{{minus_inf}, {0}},
                                                                   {{kInfF32}, {kInfF32}},
                                                                   {{0}, {bits(1.0F)}},
                                                                   {{minus_zero}, {bits(1.0F)}},
                                                                   {{kNanF32}, {kNanF32}},
                                                                   {{bits(10.0F)}, {bits(1024.0F)}},
                                                                   {{bits(-1.0F)}, {bits(0.5F)}},
                                                                   {{bits(200.0F)}, {kInfF32}},
                                                                   {{bits(-200.0F)}, {0}}});
    check_form({"lg2.approx" + ftz + ".f32 %o0, %i0;", "r", "r"}, {{{0}, {minus_inf}},
                                                                   {{minus_zero}, {minus_inf}},
                                                                   {{kInfF32}, {kInfF32}},
                                                                   {{bits(-1.0F)}, {kNanF32}},
                                                                   {{minus_inf}, {kNanF32}},
                                                                   {{kNanF32}, {kNanF32}},
                                                                   {{bits(1.0F)}, {0}},
                                                                   {{bits(8.0F)}, {bits(3.0F)}}});
    check_form({"rcp.approx" + ftz + ".f32 %o0, %i0;", "r", "r"}, {{{0}, {kInfF32}},
                                                                   {{minus_zero}, {minus_inf}},
                                                                   {{kInfF32}, {0}},
                                                                   {{minus_inf}, {minus_zero}},
                                                                   {{kNanF32}, {kNanF32}},
                                                                   {{bits(4.0F)}, {bits(0.25F)}}});
    check_form({"rsqrt.approx" + ftz + ".f32 %o0, %i0;", "r", "r"}, {{{0}, {kInfF32}},
                                                                     {{minus_zero}, {minus_inf}},
                                                                     {{kInfF32}, {0}},
                                                                     {{bits(-1.0F)}, {kNanF32}},
                                                                     {{kNanF32}, {kNanF32}},
                                                                     {{bits(4.0F)}, {bits(0.5F)}}});
    check_form({"sqrt.approx" + ftz + ".f32 %o0, %i0;", "r", "r"}, {{{0}, {0}},
                                                                    {{minus_zero}, {minus_zero}},
                                                                    {{kInfF32}, {kInfF32}},
                                                                    {{bits(-1.0F)}, {kNanF32}},
                                                                    {{bits(4.0F)}, {bits(2.0F)}}});
    check_form({"sin.approx" + ftz + ".f32 %o0, %i0;", "r", "r"},
               {{{0}, {0}}, {{minus_zero}, {minus_zero}}, {{kInfF32}, {kNanF32}}});
    check_form({"cos.approx" + ftz + ".f32 %o0, %i0;", "r", "r"}, {{{0}, {bits(1.0F)}}, {{minus_inf}, {kNanF32}}});
  }
}

TEST_CASE("approximate functions flush subnormals with .ftz only", "[ptx][approx]") {
  check_form({"ex2.approx.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(-140.0F)}, {0}}});
  check_form({"ex2.approx.f32 %o0, %i0;", "r", "r"}, {{{bits(-140.0F)}, {bits(0x1p-140F)}}});
  check_form({"lg2.approx.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(0x1p-140F)}, {bits(-kInf)}}});
  check_form({"lg2.approx.f32 %o0, %i0;", "r", "r"}, {{{bits(0x1p-140F)}, {bits(-140.0F)}}});
  check_form({"rcp.approx.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(0x1p-140F)}, {kInfF32}}, {{bits(0x1p127F)}, {0}}});
  check_form({"rcp.approx.f32 %o0, %i0;", "r", "r"}, {{{bits(0x1p127F)}, {bits(0x1p-127F)}}});
  check_form({"rsqrt.approx.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(-0x1p-140F)}, {bits(-kInf)}}});
  check_form({"sqrt.approx.ftz.f32 %o0, %i0;", "r", "r"}, {{{bits(0x1p-140F)}, {0}}});
}

}  // namespace librt::ptx::test
