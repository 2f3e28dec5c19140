// cvt between integers, and between integers and floats.
#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

using std::int16_t, std::int32_t, std::int64_t, std::int8_t, std::uint16_t, std::uint32_t, std::uint64_t, std::uint8_t;

struct IntegerType {
  std::string name;
  int width;
  bool is_signed;
};
const std::vector<IntegerType> kTypes{{"u8", 8, false},   {"s8", 8, true},   {"u16", 16, false}, {"s16", 16, true},
                                      {"u32", 32, false}, {"s32", 32, true}, {"u64", 64, false}, {"s64", 64, true}};

__extension__ using Wide = __int128;

char register_of(const IntegerType& type) {
  return type.width == 64 ? 'd' : type.width == 32 ? 'r' : 'h';
}
int register_width(const IntegerType& type) {
  return type.width < 16 ? 16 : type.width;
}

Wide value_of(Word word, const IntegerType& type) {
  const int shift = 64 - type.width;
  return type.is_signed ? Wide{static_cast<int64_t>(word << shift) >> shift} : Wide{(word << shift) >> shift};
}

/// A result narrower than its register is extended by its own sign.
Word in_register(Wide value, const IntegerType& type) {
  const Wide wrapped = value_of(static_cast<Word>(value), type);
  const int width = register_width(type);
  return static_cast<Word>(wrapped) & (width == 64 ? ~Word{0} : (Word{1} << width) - 1);
}

Wide clamp(Wide value, const IntegerType& type) {
  const Wide low = type.is_signed ? -(Wide{1} << (type.width - 1)) : Wide{0};
  const Wide high = (Wide{1} << (type.is_signed ? type.width - 1 : type.width)) - 1;
  return value < low ? low : value > high ? high : value;
}

const std::vector<Word> kPatterns{0,
                                  1,
                                  0x7f,
                                  0x80,
                                  0xff,
                                  0x100,
                                  0x7fff,
                                  0x8000,
                                  0xffff,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x123456789abcdef0,
                                  Word{1} << 63,
                                  ~Word{0},
                                  ~Word{0} - 200};

}  // namespace

TEST_CASE("cvt between all integer types truncates or extends", "[ptx][convert]") {
  for (const IntegerType& from : kTypes) {
    for (const IntegerType& to : kTypes) {
      if (from.name == to.name) continue;
      std::vector<Example> plain, saturated;
      for (const Word pattern : kPatterns) {
        const Wide value = value_of(pattern, from);
        plain.push_back({{pattern}, {in_register(value, to)}});
        saturated.push_back({{pattern}, {in_register(clamp(value, to), to)}});
      }
      const std::string in{register_of(from)}, out{register_of(to)};
      check_form({"cvt." + to.name + "." + from.name + " %o0, %i0;", in, out}, plain);
      // The ISA allows .sat only where some value lies outside of the destination's range.
      const bool always_fits = to.width > from.width && (to.is_signed || !from.is_signed);
      if (!always_fits) check_form({"cvt.sat." + to.name + "." + from.name + " %o0, %i0;", in, out}, saturated);
    }
  }
}

TEST_CASE("cvt to or from a narrow type may use a wider register", "[ptx][convert]") {
  check_form({"cvt.s32.s8 %o0, %i0;", "r", "r"}, {{{0x12345680}, {0xffffff80}}, {{0x1234567f}, {0x7f}}});
  check_form({"cvt.u32.u8 %o0, %i0;", "r", "r"}, {{{0x12345680}, {0x80}}});
  check_form({"cvt.u16.u8 %o0, %i0;", "h", "h"}, {{{0x1280}, {0x80}}});
  check_form({"cvt.s16.s8 %o0, %i0;", "r", "h"}, {{{0x12345680}, {0xff80}}});
  check_form({"cvt.s8.s32 %o0, %i0;", "r", "r"}, {{{0x180}, {0xffffff80}}, {{0x17f}, {0x7f}}});
  check_form({"cvt.u8.u32 %o0, %i0;", "r", "r"}, {{{0x180}, {0x80}}});
  check_form({"cvt.s64.s16 %o0, %i0;", "r", "d"}, {{{0x12348000}, {0xffffffffffff8000}}});
  check_form({"cvt.u16.u32 %o0, %i0;", "r", "h"}, {{{0x12348001}, {0x8001}}});
}

TEST_CASE("cvt from integers to floats rounds", "[ptx][convert]") {
  const std::vector<std::pair<std::string, Rounding>> modes{
      {"rn", Rounding::nearest}, {"rz", Rounding::zero}, {"rm", Rounding::down}, {"rp", Rounding::up}};
  for (const auto& [mode_name, mode] : modes) {
    for (const IntegerType& from : kTypes) {
      std::vector<Example> to_float, to_double;
      for (const Word pattern : kPatterns) {
        const auto exact = static_cast<long double>(value_of(pattern, from));
        to_float.push_back({{pattern}, {bits(rounded<float>(exact, mode))}});
        to_double.push_back({{pattern}, {bits(rounded<double>(exact, mode))}});
      }
      const std::string in{register_of(from)};
      check_form({"cvt." + mode_name + ".f32." + from.name + " %o0, %i0;", in, "r"}, to_float);
      check_form_or_refusal({"cvt." + mode_name + ".f64." + from.name + " %o0, %i0;", in, "d"}, to_double);
    }
  }
  std::vector<Example> to_half;
  for (const int32_t value : {0, 1, -1, 2047, 2048, 2049, 2051, -2051, 65504, 65519, 65520, 100000})
    to_half.push_back({{bits(value)}, {encode(value, kF16)}});
  check_form({"cvt.rn.f16.s32 %o0, %i0;", "r", "h"}, to_half);
  check_form({"cvt.rn.f16.u16 %o0, %i0;", "h", "h"}, {{{2049}, {encode(2048, kF16)}}, {{65535}, {0x7c00}}});
  check_form({"cvt.rn.f16.s64 %o0, %i0;", "d", "h"}, {{{~Word{0}}, {0xbc00}}});
  check_form({"cvt.rn.bf16.s32 %o0, %i0;", "r", "h"},
             {{{257}, {encode(256, kBf16)}}, {{bits(-259)}, {encode(-260, kBf16)}}});
}

TEST_CASE("cvt from floats to integers rounds, clamps, and maps NaN", "[ptx][convert]") {
  const std::vector<float> values{0.0F,
                                  -0.0F,
                                  0.5F,
                                  1.5F,
                                  2.5F,
                                  -0.5F,
                                  -1.5F,
                                  -2.5F,
                                  0.75F,
                                  -0.75F,
                                  126.5F,
                                  127.5F,
                                  255.5F,
                                  -128.5F,
                                  32767.5F,
                                  65535.5F,
                                  2147483520.0F,
                                  2147483648.0F,
                                  -2147483648.0F,
                                  4294967040.0F,
                                  1e10F,
                                  -1e10F,
                                  1e19F,
                                  1e20F,
                                  -1e20F,
                                  1e-40F,
                                  std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity()};
  const auto integral = [](const std::string& mode, long double v) {
    if (mode == "rzi") return std::trunc(v);
    if (mode == "rmi") return std::floor(v);
    if (mode == "rpi") return std::ceil(v);
    const long double down = std::floor(v), rest = v - down;
    return rest > 0.5L || (rest == 0.5L && std::fmod(down, 2.0L) != 0) ? down + 1 : down;
  };
  for (const std::string mode : {"rni", "rzi", "rmi", "rpi"}) {
    for (const IntegerType& to : kTypes) {
      std::vector<Example> from_float, from_double;
      for (const float v : values) {
        const long double limited = std::fmax(std::fmin(static_cast<long double>(v), 1e30L), -1e30L);
        const Word expected = in_register(clamp(static_cast<Wide>(integral(mode, limited)), to), to);
        from_float.push_back({{bits(v)}, {expected}});
        from_double.push_back({{bits(static_cast<double>(v))}, {expected}});
      }
      const std::string out{register_of(to)};
      check_form({"cvt." + mode + "." + to.name + ".f32 %o0, %i0;", "r", out}, from_float);
      check_form({"cvt." + mode + "." + to.name + ".f64 %o0, %i0;", "d", out}, from_double);
    }
  }
  check_form({"cvt.rzi.s32.f32 %o0, %i0;", "r", "r"}, {{{kNanF32}, {0}}, {{0xffc00001}, {0}}});
  check_form({"cvt.rzi.u32.f32 %o0, %i0;", "r", "r"}, {{{kNanF32}, {0}}});
  check_form({"cvt.rzi.s64.f32 %o0, %i0;", "r", "d"}, {{{kNanF32}, {Word{1} << 63}}});
  check_form({"cvt.rzi.u64.f32 %o0, %i0;", "r", "d"}, {{{kNanF32}, {Word{1} << 63}}});
  check_form({"cvt.rpi.s32.f32 %o0, %i0;", "r", "r"}, {{{bits(1e-40F)}, {1}}});
  check_form({"cvt.rpi.ftz.s32.f32 %o0, %i0;", "r", "r"}, {{{bits(1e-40F)}, {0}}});
  check_form({"cvt.rzi.s32.f16 %o0, %i0;", "h", "r"},
             {{{encode(-100.5L, kF16)}, {bits(-100)}}, {{0x7c00}, {0x7fffffff}}, {{0x7e00}, {0}}});
  check_form({"cvt.rni.u16.f16 %o0, %i0;", "h", "h"}, {{{encode(2.5L, kF16)}, {2}}, {{encode(-1, kF16)}, {0}}});
}

}  // namespace librt::ptx::test
