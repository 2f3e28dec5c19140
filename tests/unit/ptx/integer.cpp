// Integer arithmetic of every width: wrap, saturation, high and wide products, carries, division.
#include <limits>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::int16_t, std::int32_t, std::int64_t, std::uint16_t, std::uint32_t, std::uint64_t;

template <class T>
std::vector<T> corner_values() {
  using L = std::numeric_limits<T>;
  const auto half = static_cast<T>(L::max() / 2);
  return {T{0},
          T{1},
          T{2},
          T{7},
          static_cast<T>(-1),
          static_cast<T>(-7),
          L::max(),
          L::min(),
          static_cast<T>(L::max() - 1),
          static_cast<T>(L::min() + 1),
          half,
          static_cast<T>(half + 2),
          static_cast<T>(0x1234567890abcdefULL),
          static_cast<T>(0xfedcba0987654321ULL)};
}

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
using Twice =
    std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                       std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                                          std::conditional_t<std::is_signed_v<T>, Int128, Uint128>>>;

template <class T>
T low_product(T a, T b) {
  return static_cast<T>(static_cast<Uint128>(a) * static_cast<Uint128>(b));
}
template <class T>
T high_product(T a, T b) {
  return static_cast<T>((static_cast<Twice<T>>(a) * static_cast<Twice<T>>(b)) >> (8 * sizeof(T)));
}
template <class T>
T wrapped_sum(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b)));
}

template <class T>
void check_arithmetic(const std::string& type) {
  const std::vector<T> values = corner_values<T>();
  check_binary<T, T>("add." + type, values, wrapped_sum<T>);
  check_binary<T, T>("sub." + type, values, [](T a, T b) {
    return static_cast<T>(static_cast<Unsigned<T>>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b)));
  });
  check_binary<T, T>("mul.lo." + type, values, low_product<T>);
  check_binary<T, T>("mul.hi." + type, values, high_product<T>);
  check_binary<T, T>("min." + type, values, [](T a, T b) { return a < b ? a : b; });
  check_binary<T, T>("max." + type, values, [](T a, T b) { return a > b ? a : b; });
  const std::vector<T> few{
      T{0}, T{1}, T{3}, static_cast<T>(-5), std::numeric_limits<T>::max(), std::numeric_limits<T>::min()};
  check_ternary<T, T, T>("mad.lo." + type, few, few, [](T a, T b, T c) { return wrapped_sum(low_product(a, b), c); });
  check_ternary<T, T, T>("mad.hi." + type, few, few, [](T a, T b, T c) { return wrapped_sum(high_product(a, b), c); });
}

template <class T>
void check_wide(const std::string& type) {
  using W = Twice<T>;
  const std::vector<T> values = corner_values<T>();
  check_binary<T, W>("mul.wide." + type, values,
                     [](T a, T b) { return static_cast<W>(static_cast<W>(a) * static_cast<W>(b)); });
  const std::vector<W> addends{W{0}, W{1}, static_cast<W>(-1), std::numeric_limits<W>::max(),
                               std::numeric_limits<W>::min()};
  check_ternary<T, W, W>(
      "mad.wide." + type,
      {T{0}, T{1}, T{9}, static_cast<T>(-3), std::numeric_limits<T>::max(), std::numeric_limits<T>::min()}, addends,
      [](T a, T b, W c) {
        return static_cast<W>(static_cast<Unsigned<W>>(static_cast<W>(a) * static_cast<W>(b)) +
                              static_cast<Unsigned<W>>(c));
      });
}

/// Division by zero and the overflowing quotient are left unspecified by the ISA, so they are not asked for.
template <class T>
void check_division(const std::string& type) {
  std::vector<Example> quotients, remainders;
  for (const T a : corner_values<T>()) {
    for (const T b : corner_values<T>()) {
      if (b == 0 || (std::is_signed_v<T> && a == std::numeric_limits<T>::min() && b == static_cast<T>(-1))) continue;
      quotients.push_back({{bits(a), bits(b)}, {bits(static_cast<T>(a / b))}});
      remainders.push_back({{bits(a), bits(b)}, {bits(static_cast<T>(a % b))}});
    }
  }
  const std::string operands(2, letter<T>());
  check_form({"div." + type + " %o0, %i0, %i1;", operands, {letter<T>()}}, quotients);
  check_form({"rem." + type + " %o0, %i0, %i1;", operands, {letter<T>()}}, remainders);
}

template <class T>
void check_sign(const std::string& type) {
  check_unary<T, T>("neg." + type, corner_values<T>(),
                    [](T a) { return static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a)); });
  check_unary<T, T>("abs." + type, corner_values<T>(),
                    [](T a) { return a < 0 ? static_cast<T>(Unsigned<T>{0} - static_cast<Unsigned<T>>(a)) : a; });
}

}  // namespace

TEST_CASE("integer arithmetic wraps at its own width", "[ptx][integer]") {
  SECTION("u16") {
    check_arithmetic<uint16_t>("u16");
  }
  SECTION("s16") {
    check_arithmetic<int16_t>("s16");
  }
  SECTION("u32") {
    check_arithmetic<uint32_t>("u32");
  }
  SECTION("s32") {
    check_arithmetic<int32_t>("s32");
  }
  SECTION("u64") {
    check_arithmetic<uint64_t>("u64");
  }
  SECTION("s64") {
    check_arithmetic<int64_t>("s64");
  }
}

TEST_CASE("wide products have twice the width", "[ptx][integer]") {
  check_wide<uint16_t>("u16");
  check_wide<int16_t>("s16");
  check_wide<uint32_t>("u32");
  check_wide<int32_t>("s32");
}

TEST_CASE("division truncates towards zero", "[ptx][integer]") {
  check_division<uint16_t>("u16");
  check_division<int16_t>("s16");
  check_division<uint32_t>("u32");
  check_division<int32_t>("s32");
  check_division<uint64_t>("u64");
  check_division<int64_t>("s64");
}

TEST_CASE("division by zero and the overflowing quotient do not stop the machine", "[ptx][integer]") {
  const std::vector<Words> rows{{5, 0}, {0x80000000, 0xffffffff}, {20, 6}};
  CHECK(run_lanes({"div.s32 %o0, %i0, %i1;", "rr", "r"}, rows)[2] == Words{3});
  CHECK(run_lanes({"rem.s32 %o0, %i0, %i1;", "rr", "r"}, rows)[2] == Words{2});
  CHECK(run_lanes({"div.u32 %o0, %i0, %i1;", "rr", "r"}, rows)[2] == Words{3});
  const std::vector<Words> wide{{5, 0}, {Word{1} << 63, ~Word{0}}, {20, 6}};
  CHECK(run_lanes({"div.s64 %o0, %i0, %i1;", "dd", "d"}, wide)[2] == Words{3});
  CHECK(run_lanes({"rem.s64 %o0, %i0, %i1;", "dd", "d"}, wide)[2] == Words{2});
}

TEST_CASE("neg and abs keep the most negative value", "[ptx][integer]") {
  check_sign<int16_t>("s16");
  check_sign<int32_t>("s32");
  check_sign<int64_t>("s64");
}

TEST_CASE("saturating s32 addition and subtraction clamp", "[ptx][integer]") {
  const auto clamp = [](int64_t v) {
    return static_cast<int32_t>(v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : v);
  };
  std::vector<Example> sums, differences;
  for (const int32_t a : corner_values<int32_t>()) {
    for (const int32_t b : corner_values<int32_t>()) {
      sums.push_back({{bits(a), bits(b)}, {bits(clamp(int64_t{a} + b))}});
      differences.push_back({{bits(a), bits(b)}, {bits(clamp(int64_t{a} - b))}});
    }
  }
  check_form({"add.sat.s32 %o0, %i0, %i1;", "rr", "r"}, sums);
  check_form({"sub.sat.s32 %o0, %i0, %i1;", "rr", "r"}, differences);
}

TEST_CASE("packed 16-bit integer forms work on each half", "[ptx][integer]") {
  check_form_or_refusal({"add.u16x2 %o0, %i0, %i1;", "rr", "r"},
                        {{{0xffff0001, 0x00010002}, {0x00000003}}, {{0x8000ffff, 0x80000001}, {0}}});
  check_form_or_refusal({"add.s16x2 %o0, %i0, %i1;", "rr", "r"}, {{{0x7fff0001, 0x0001ffff}, {0x80000000}}});
  check_form_or_refusal({"min.s16x2 %o0, %i0, %i1;", "rr", "r"}, {{{0x80000001, 0x0001ffff}, {0x8000ffff}}});
  check_form_or_refusal({"max.u16x2 %o0, %i0, %i1;", "rr", "r"}, {{{0x80000001, 0x0001ffff}, {0x8000ffff}}});
}

TEST_CASE("24-bit products use the low 24 bits", "[ptx][integer]") {
  check_form_or_refusal({"mul24.lo.u32 %o0, %i0, %i1;", "rr", "r"},
                        {{{0xff000003, 5}, {15}}, {{0xffffff, 0xffffff}, {0xfe000001}}});
  check_form_or_refusal({"mul24.lo.s32 %o0, %i0, %i1;", "rr", "r"}, {{{0x00ffffff, 5}, {0xfffffffb}}});
  check_form_or_refusal({"mad24.lo.s32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{0x00ffffff, 5, 7}, {2}}});
}

TEST_CASE("sad adds the absolute difference", "[ptx][integer]") {
  check_form({"sad.u32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{3, 10, 100}, {107}}, {{0, 0xffffffff, 2}, {1}}});
  check_form({"sad.s32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{bits(-3), 10, 100}, {113}}});
}

TEST_CASE("carry chains extend additions and subtractions", "[ptx][integer]") {
  const Form sum{"add.cc.u32 %o0, %i0, %i2; addc.u32 %o1, %i1, %i3;", "rrrr", "rr"};
  const Form difference{"sub.cc.u32 %o0, %i0, %i2; subc.u32 %o1, %i1, %i3;", "rrrr", "rr"};
  std::vector<Example> sums, differences;
  for (const uint64_t a : corner_values<uint64_t>()) {
    for (const uint64_t b : corner_values<uint64_t>()) {
      const auto low = [](uint64_t v) { return v & 0xffffffffU; };
      const Words in{low(a), a >> 32, low(b), b >> 32};
      sums.push_back({in, {low(a + b), (a + b) >> 32}});
      differences.push_back({in, {low(a - b), (a - b) >> 32}});
    }
  }
  check_form(sum, sums);
  check_form(difference, differences);
  check_form({"add.cc.u64 %o0, %i0, %i1; addc.u64 %o1, %i2, %i3;", "dddd", "dd"},
             {{{~Word{0}, 1, 5, 6}, {0, 12}}, {{1, 1, 5, 6}, {2, 11}}});
  check_form_or_refusal({"mad.lo.cc.u32 %o0, %i0, %i1, %i2; madc.hi.u32 %o1, %i0, %i1, 0;", "rrr", "rr"},
                        {{{0xffffffff, 0xffffffff, 0xffffffff}, {0, 0xffffffff}}, {{3, 4, 5}, {17, 0}}});
}

TEST_CASE("immediates, negative constants and constant expressions are operands", "[ptx][integer]") {
  check_form({"add.s32 %o0, %i0, -1;", "r", "r"}, {{{0}, {0xffffffff}}, {{1}, {0}}});
  check_form({"add.s64 %o0, %i0, -8;", "d", "d"}, {{{0}, {~Word{0} - 7}}});
  check_form({"add.s32 %o0, %i0, 0x10;", "r", "r"}, {{{1}, {17}}});
  check_form({"add.u32 %o0, %i0, 4294967295;", "r", "r"}, {{{1}, {0}}});
  check_form({"add.s32 %o0, %i0, 017;", "r", "r"}, {{{1}, {16}}});
  check_form({"add.s32 %o0, %i0, 0b101;", "r", "r"}, {{{1}, {6}}});
  check_form({"mov.u64 %o0, 0xfedcba9876543210;", "", "d"}, {{{}, {0xfedcba9876543210}}});
  check_form({"mov.b32 %o0, -2147483648;", "", "r"}, {{{}, {0x80000000}}});
  check_form({"mov.u16 %o0, -1;", "", "h"}, {{{}, {0xffff}}});
}

}  // namespace librt::ptx::test
