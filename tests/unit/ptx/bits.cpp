// Logic, shifts, bit fields, permutes and bit counts.
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::int16_t, std::int32_t, std::int64_t, std::uint16_t, std::uint32_t, std::uint64_t;

const std::vector<uint32_t> kWords{0,          1,          2,          0x80000000, 0xffffffff,
                                   0x7fffffff, 0x12345678, 0xdeadbeef, 0x0000ff00, 0x00010000};
const std::vector<uint64_t> kLongs{
    0, 1, 0x8000000000000000, ~uint64_t{0}, 0x0123456789abcdef, 0xfedcba9800000000, 0x00000000ffffffff};
const std::vector<uint16_t> kShorts{0, 1, 0x8000, 0xffff, 0x1234, 0x00ff};

template <class T>
void check_logic(const std::string& type, const std::vector<T>& values) {
  check_binary<T, T>("and." + type, values, [](T a, T b) { return static_cast<T>(a & b); });
  check_binary<T, T>("or." + type, values, [](T a, T b) { return static_cast<T>(a | b); });
  check_binary<T, T>("xor." + type, values, [](T a, T b) { return static_cast<T>(a ^ b); });
  check_unary<T, T>("not." + type, values, [](T a) { return static_cast<T>(~a); });
  check_unary<T, T>("cnot." + type, values, [](T a) { return static_cast<T>(a == 0 ? 1 : 0); });
}

/// A shift amount is an unsigned 32-bit number whatever the width; past the width everything is shifted out.
template <class T>
void check_shifts(const std::string& width, const std::vector<T>& values) {
  using S = std::make_signed_t<T>;
  constexpr uint32_t kBits = 8 * sizeof(T);
  std::vector<Example> left, right, arithmetic;
  for (const T a : values) {
    for (const uint32_t n : {0U, 1U, 4U, kBits - 1, kBits, kBits + 1, 64U, 65U, 255U, 256U, 0x80000000U, 0xffffffffU}) {
      const T shifted = n < kBits ? static_cast<T>(a << n) : T{0};
      left.push_back({{bits(a), n}, {bits(shifted)}});
      right.push_back({{bits(a), n}, {bits(n < kBits ? static_cast<T>(a >> n) : T{0})}});
      arithmetic.push_back({{bits(a), n}, {bits(static_cast<T>(static_cast<S>(a) >> (n < kBits ? n : kBits - 1)))}});
    }
  }
  const std::string in{letter<T>(), 'r'}, out{letter<T>()};
  check_form({"shl.b" + width + " %o0, %i0, %i1;", in, out}, left);
  check_form({"shr.u" + width + " %o0, %i0, %i1;", in, out}, right);
  check_form({"shr.b" + width + " %o0, %i0, %i1;", in, out}, right);
  check_form({"shr.s" + width + " %o0, %i0, %i1;", in, out}, arithmetic);
}

/// bfe as the ISA words it: bit by bit, filled above the field with the sign bit of the field (or of the word).
uint64_t extract(uint64_t value, uint32_t pos, uint32_t len, bool is_signed, uint32_t width) {
  pos &= 255;
  len &= 255;
  bool sign = false;
  if (is_signed && len != 0) {
    const uint32_t top = std::min(pos + len - 1, width - 1);
    sign = (value >> top) & 1;
  }
  uint64_t result = 0;
  for (uint32_t i = 0; i < width; ++i) {
    const bool bit = i < len && pos + i < width ? (value >> (pos + i)) & 1 : sign;
    result |= uint64_t{bit} << i;
  }
  return result;
}

uint64_t insert(uint64_t field, uint64_t base, uint32_t pos, uint32_t len, uint32_t width) {
  pos &= 255;
  len &= 255;
  for (uint32_t i = 0; i < len && pos + i < width; ++i) {
    const uint64_t bit = uint64_t{1} << (pos + i);
    base = (field >> i) & 1 ? base | bit : base & ~bit;
  }
  return base;
}

template <class T>
void check_fields(const std::string& width, const std::vector<T>& values) {
  std::vector<Example> unsigned_fields, signed_fields, insertions;
  for (const T a : values) {
    for (const uint32_t pos : {0U, 1U, 8U, 31U, 32U, 63U, 64U, 200U, 256U, 264U}) {
      for (const uint32_t len : {0U, 1U, 8U, 31U, 32U, 33U, 64U, 255U, 256U + 8U}) {
        const auto b = static_cast<T>(0x5a5aa5a5c3c33c3cULL);
        unsigned_fields.push_back({{bits(a), pos, len}, {extract(a, pos, len, false, 8 * sizeof(T))}});
        signed_fields.push_back({{bits(a), pos, len}, {extract(a, pos, len, true, 8 * sizeof(T))}});
        insertions.push_back({{bits(a), bits(b), pos, len}, {insert(a, b, pos, len, 8 * sizeof(T))}});
      }
    }
  }
  const std::string l{letter<T>()};
  check_form({"bfe.u" + width + " %o0, %i0, %i1, %i2;", l + "rr", l}, unsigned_fields);
  check_form({"bfe.s" + width + " %o0, %i0, %i1, %i2;", l + "rr", l}, signed_fields);
  check_form({"bfi.b" + width + " %o0, %i0, %i1, %i2, %i3;", l + l + "rr", l}, insertions);
}

}  // namespace

TEST_CASE("logic of every width", "[ptx][bits]") {
  check_logic<uint16_t>("b16", kShorts);
  check_logic<uint32_t>("b32", kWords);
  check_logic<uint64_t>("b64", kLongs);
}

TEST_CASE("logic on predicates", "[ptx][bits]") {
  const std::vector<bool> both{false, true};
  check_binary<bool, bool>("and.pred", both, [](bool a, bool b) { return a && b; });
  check_binary<bool, bool>("or.pred", both, [](bool a, bool b) { return a || b; });
  check_binary<bool, bool>("xor.pred", both, [](bool a, bool b) { return a != b; });
  check_unary<bool, bool>("not.pred", both, [](bool a) { return !a; });
  check_unary<bool, bool>("mov.pred", both, [](bool a) { return a; });
}

TEST_CASE("shifts clamp amounts past the width", "[ptx][bits]") {
  check_shifts<uint16_t>("16", kShorts);
  check_shifts<uint32_t>("32", kWords);
  check_shifts<uint64_t>("64", kLongs);
}

TEST_CASE("bit fields", "[ptx][bits]") {
  check_fields<uint32_t>("32", kWords);
  check_fields<uint64_t>("64", kLongs);
  check_form({"bfi.b64 %o0, %i0, %i1, 32, 32;", "dd", "d"}, {{{0xaabbccdd, 0x1111111122222222}, {0xaabbccdd22222222}}});
}

TEST_CASE("funnel shifts", "[ptx][bits]") {
  std::vector<Example> left_wrap, left_clamp, right_wrap, right_clamp;
  for (const uint32_t low : kWords) {
    for (const uint32_t high : {0U, 0xffffffffU, 0x89abcdefU}) {
      const uint64_t both = (uint64_t{high} << 32) | low;
      for (const uint32_t n : {0U, 1U, 16U, 31U, 32U, 33U, 63U, 64U, 0xffffffffU}) {
        const uint32_t wrapped = n & 31, clamped = n < 32 ? n : 32;
        const auto left = [&](uint32_t k) { return ((both << k) >> 32) & 0xffffffffU; };
        const auto right = [&](uint32_t k) { return (both >> k) & 0xffffffffU; };
        const Words in{low, high, n};
        left_wrap.push_back({in, {left(wrapped)}});
        left_clamp.push_back({in, {left(clamped)}});
        right_wrap.push_back({in, {right(wrapped)}});
        right_clamp.push_back({in, {right(clamped)}});
      }
    }
  }
  check_form({"shf.l.wrap.b32 %o0, %i0, %i1, %i2;", "rrr", "r"}, left_wrap);
  check_form({"shf.l.clamp.b32 %o0, %i0, %i1, %i2;", "rrr", "r"}, left_clamp);
  check_form({"shf.r.wrap.b32 %o0, %i0, %i1, %i2;", "rrr", "r"}, right_wrap);
  check_form({"shf.r.clamp.b32 %o0, %i0, %i1, %i2;", "rrr", "r"}, right_clamp);
}

TEST_CASE("prmt selects bytes, and their signs", "[ptx][bits]") {
  const Word a = 0x33221100, b = 0x77f65544;  // bytes 0..3 and 4..7 by number, 6 with its sign bit set
  check_form({"prmt.b32 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{a, b, 0x3210}, {0x33221100}},
                                                            {{a, b, 0x7654}, {0x77f65544}},
                                                            {{a, b, 0x0123}, {0x00112233}},
                                                            {{a, b, 0x5410}, {0x55441100}},
                                                            {{a, b, 0x7632}, {0x77f63322}},
                                                            {{a, b, 0xe6fd}, {0xfff60000}},
                                                            {{a, b, 0xabcd3210}, {0x33221100}},
                                                            {{a, b, 0x000e}, {0x000000ff}}});
  // Forward 4 extract, backward 4 extract, replicate 8, edge clamp left and right, replicate 16.
  check_form({"prmt.b32.f4e %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{a, b, 0}, {0x33221100}}, {{a, b, 1}, {0x44332211}}, {{a, b, 3}, {0xf6554433}}});
  check_form({"prmt.b32.b4e %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{a, b, 0}, {0x55f67700}}, {{a, b, 1}, {0xf6770011}}, {{a, b, 3}, {0x00112233}}});
  check_form({"prmt.b32.rc8 %o0, %i0, %i1, %i2;", "rrr", "r"}, {{{a, b, 0}, {0}}, {{a, b, 2}, {0x22222222}}});
  check_form({"prmt.b32.ecl %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{a, b, 0}, {0x33221100}}, {{a, b, 1}, {0x33221111}}, {{a, b, 3}, {0x33333333}}});
  check_form({"prmt.b32.ecr %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{a, b, 0}, {0}}, {{a, b, 1}, {0x11111100}}, {{a, b, 3}, {0x33221100}}});
  check_form({"prmt.b32.rc16 %o0, %i0, %i1, %i2;", "rrr", "r"},
             {{{a, b, 0}, {0x11001100}}, {{a, b, 1}, {0x33223322}}, {{a, b, 2}, {0x11001100}}});
}

TEST_CASE("lop3 is its truth table for all 256 of them", "[ptx][bits]") {
  // With these operands bit i (of the low byte) of the result is bit i of the table, by the definition of the table.
  for (unsigned table = 0; table < 256; table += 1) {
    const std::string code = "lop3.b32 %o0, %i0, %i1, %i2, " + std::to_string(table) + ";";
    check_form({code, "rrr", "r"}, {{{0xf0, 0xcc, 0xaa}, {table | (table & 1 ? 0xffffff00U : 0U)}}});
  }
  check_form({"lop3.b32 %o0, %i0, %i1, %i2, 0x96;", "rrr", "r"},
             {{{0x12345678, 0x9abcdef0, 0x0f0f0f0f}, {0x12345678 ^ 0x9abcdef0 ^ 0x0f0f0f0f}}});
}

TEST_CASE("lop3 with a boolean operation also gives a predicate", "[ptx][bits]") {
  check_form_or_refusal({"lop3.or.b32 %o0|%o1, %i0, %i1, %i2, 0x80, %i3;", "rrrp", "rp"},
                        {{{1, 1, 1, 0}, {1, 1}}, {{1, 1, 2, 0}, {0, 0}}, {{1, 1, 2, 1}, {0, 1}}});
  check_form_or_refusal({"lop3.and.b32 %o0|%o1, %i0, %i1, %i2, 0x80, %i3;", "rrrp", "rp"},
                        {{{1, 1, 1, 0}, {1, 0}}, {{1, 1, 1, 1}, {1, 1}}, {{1, 1, 2, 1}, {0, 0}}});
}

TEST_CASE("bit counts and searches", "[ptx][bits]") {
  check_unary<uint32_t, uint32_t>("popc.b32", kWords,
                                  [](uint32_t a) { return static_cast<uint32_t>(std::popcount(a)); });
  check_unary<uint64_t, uint32_t>("popc.b64", kLongs,
                                  [](uint64_t a) { return static_cast<uint32_t>(std::popcount(a)); });
  check_unary<uint32_t, uint32_t>("clz.b32", kWords,
                                  [](uint32_t a) { return static_cast<uint32_t>(std::countl_zero(a)); });
  check_unary<uint64_t, uint32_t>("clz.b64", kLongs,
                                  [](uint64_t a) { return static_cast<uint32_t>(std::countl_zero(a)); });
  check_form({"brev.b32 %o0, %i0;", "r", "r"},
             {{{1}, {0x80000000}}, {{0x12345678}, {0x1e6a2c48}}, {{0xffff0000}, {0xffff}}});
  check_form({"brev.b64 %o0, %i0;", "d", "d"}, {{{1}, {Word{1} << 63}}, {{0x12345678}, {0x1e6a2c4800000000}}});
  check_form({"bfind.u32 %o0, %i0;", "r", "r"},
             {{{0}, {0xffffffff}}, {{1}, {0}}, {{0x80000000}, {31}}, {{0x00ff00ff}, {23}}});
  check_form(
      {"bfind.s32 %o0, %i0;", "r", "r"},
      {{{0}, {0xffffffff}}, {{0xffffffff}, {0xffffffff}}, {{0x80000000}, {30}}, {{5}, {2}}, {{0xfffffff0}, {3}}});
  check_form({"bfind.shiftamt.u32 %o0, %i0;", "r", "r"}, {{{0}, {0xffffffff}}, {{1}, {31}}, {{0x80000000}, {0}}});
  check_form({"bfind.u64 %o0, %i0;", "d", "r"}, {{{0}, {0xffffffff}}, {{Word{1} << 40}, {40}}});
  check_form({"bfind.s64 %o0, %i0;", "d", "r"}, {{{~Word{0}}, {0xffffffff}}, {{Word{1} << 63}, {62}}});
}

TEST_CASE("bmsk and szext", "[ptx][bits]") {
  check_form_or_refusal(
      {"bmsk.clamp.b32 %o0, %i0, %i1;", "rr", "r"},
      {{{4, 8}, {0xff0}}, {{0, 32}, {0xffffffff}}, {{28, 8}, {0xf0000000}}, {{32, 1}, {0}}, {{3, 0}, {0}}});
  check_form_or_refusal(
      {"szext.clamp.s32 %o0, %i0, %i1;", "rr", "r"},
      {{{0x80, 8}, {0xffffff80}}, {{0x17f, 8}, {0x7f}}, {{0x80, 0}, {0}}, {{0x80000000, 40}, {0x80000000}}});
  check_form_or_refusal({"szext.clamp.u32 %o0, %i0, %i1;", "rr", "r"}, {{{0x180, 8}, {0x80}}});
}

TEST_CASE("mov packs and unpacks registers", "[ptx][bits]") {
  check_form({"mov.b32 %o0, {%i0, %i1};", "hh", "r"}, {{{0x1234, 0xabcd}, {0xabcd1234}}});
  check_form({"mov.b32 {%o0, %o1}, %i0;", "r", "hh"}, {{{0xabcd1234}, {0x1234, 0xabcd}}});
  check_form({"mov.b64 %o0, {%i0, %i1};", "rr", "d"}, {{{0x11223344, 0xaabbccdd}, {0xaabbccdd11223344}}});
  check_form({"mov.b64 {%o0, %o1}, %i0;", "d", "rr"}, {{{0xaabbccdd11223344}, {0x11223344, 0xaabbccdd}}});
  check_form({"mov.b64 %o0, {%i0, %i1, %i2, %i3};", "hhhh", "d"}, {{{1, 2, 3, 4}, {0x0004000300020001}}});
  check_form({"mov.b64 {%o0, %o1, %o2, %o3}, %i0;", "d", "hhhh"}, {{{0x0004000300020001}, {1, 2, 3, 4}}});
  check_form({"mov.b64 {_, %o0}, %i0;", "d", "r"}, {{{0xaabbccdd11223344}, {0xaabbccdd}}});
  // Both halves are read before either is written.
  check_form({"mov.b64 {%r1, %r2}, %i0; mov.b64 %d5, {%r2, %r1}; mov.b64 %o0, %d5;", "d", "d"},
             {{{0xaabbccdd11223344}, {0x11223344aabbccdd}}});
  check_form({"mov.u32 %r1, %i0; mov.u32 %r2, %i1; mov.b64 %d5, {%r1, %r2}; mov.b64 {%r2, %r1}, %d5; mov.b32 %o0, %r1; "
              "mov.b32 %o1, %r2;",
              "rr", "rr"},
             {{{7, 9}, {9, 7}}});
}

TEST_CASE("a destination may also be a source", "[ptx][bits]") {
  check_form({"mov.u32 %r1, %i0; add.u32 %r1, %r1, %r1; mul.lo.u32 %r1, %r1, %r1; mov.u32 %o0, %r1;", "r", "r"},
             {{{3}, {36}}});
  check_form({"mov.u32 %r1, %i0; bfi.b32 %r1, %r1, %r1, 4, 4; mov.u32 %o0, %r1;", "r", "r"},
             {{{0xabcd1235}, {0xabcd1255}}});
  check_form({"mov.b64 %d5, %i0; bfi.b64 %d5, %d5, %d5, 32, 32; mov.b64 %o0, %d5;", "d", "d"},
             {{{0x11}, {0x0000001100000011}}});
}

}  // namespace librt::ptx::test
