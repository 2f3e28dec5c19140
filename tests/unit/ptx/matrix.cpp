// ldmatrix, stmatrix and mma.sync against the figures of the PTX ISA, written here as tables of lanes.
#include <array>
#include <random>

#include "tests/unit/ptx/rounding.hpp"

namespace librt::ptx::test {
namespace {

using std::uint16_t, std::uint32_t, std::uint64_t;

// The 8x8 core of every figure: which lane holds row r, columns 2p and 2p+1 (one 32-bit register).
constexpr std::array<std::array<uint32_t, 4>, 8> kLaneOfPair{{{0, 1, 2, 3},
                                                              {4, 5, 6, 7},
                                                              {8, 9, 10, 11},
                                                              {12, 13, 14, 15},
                                                              {16, 17, 18, 19},
                                                              {20, 21, 22, 23},
                                                              {24, 25, 26, 27},
                                                              {28, 29, 30, 31}}};

/// Where an element of an operand lives.
struct Slot {
  uint32_t lane;
  std::size_t register_index;
  unsigned shift;
};

// 16-bit A: registers 0..3 cover the quadrants (top left, bottom left, top right, bottom right).
Slot a16(std::size_t row, std::size_t k) {
  constexpr std::size_t kQuadrant[2][2] = {{0, 2}, {1, 3}};
  return {kLaneOfPair[row % 8][k % 8 / 2], kQuadrant[row / 8][k / 8], static_cast<unsigned>(k % 2 * 16)};
}
// 16-bit B is the same core on its side: a lane holds two neighbours along k of one column.
Slot b16(std::size_t k, std::size_t column) {
  return {kLaneOfPair[column][k % 8 / 2], k / 8, static_cast<unsigned>(k % 2 * 16)};
}
// f32 C and D: a lane holds two neighbouring columns of one row in two registers, then the row eight below.
Slot c32(std::size_t row, std::size_t column) {
  return {kLaneOfPair[row % 8][column / 2], row / 8 * 2 + column % 2, 0};
}
Slot c16(std::size_t row, std::size_t column) {
  return {kLaneOfPair[row % 8][column / 2], row / 8, static_cast<unsigned>(column % 2 * 16)};
}

struct Shape {
  std::string name;  // "m16n8k16"
  std::size_t k;
};

using Matrix = std::vector<std::vector<double>>;

Matrix filled(std::size_t rows, std::size_t columns, auto&& value) {
  Matrix m(rows, std::vector<double>(columns));
  for (auto& row : m) {
    for (double& v : row) v = value();
  }
  return m;
}

struct Multiplication {
  Shape shape;
  std::string input;        // "bf16" or "f16"
  std::string accumulator;  // "f32" or "f16"
};

Word element(double v, const std::string& type) {
  return type == "bf16" ? encode(v, kBf16) : type == "f16" ? encode(v, kF16) : bits(static_cast<float>(v));
}
double value(Word w, const std::string& type) {
  return type == "f16" ? static_cast<double>(decode(w & 0xffff, kF16)) : static_cast<double>(as_float(w));
}

Matrix multiply(const Multiplication& what, const Matrix& a, const Matrix& b, const Matrix& c) {
  const std::size_t a_registers = what.shape.k / 4, b_registers = what.shape.k / 8,
                    c_registers = what.accumulator == "f32" ? 4 : 2;
  std::vector<Words> rows(32, Words(a_registers + b_registers + c_registers));
  const auto put = [&](const Slot& slot, std::size_t base, Word word) {
    rows[slot.lane][base + slot.register_index] |= word << slot.shift;
  };
  const auto slot_c = [&](std::size_t i, std::size_t j) { return what.accumulator == "f32" ? c32(i, j) : c16(i, j); };
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t k = 0; k < what.shape.k; ++k) put(a16(i, k), 0, element(a[i][k], what.input));
    for (std::size_t j = 0; j < 8; ++j)
      put(slot_c(i, j), a_registers + b_registers, element(c[i][j], what.accumulator));
  }
  for (std::size_t k = 0; k < what.shape.k; ++k) {
    for (std::size_t j = 0; j < 8; ++j) put(b16(k, j), a_registers, element(b[k][j], what.input));
  }
  std::size_t next = 0;
  const auto operand = [&](char letter, std::size_t count, std::size_t first) {
    std::string text = "{";
    for (std::size_t i = 0; i < count; ++i) text += (i ? ", %" : "%") + std::string{letter} + std::to_string(first + i);
    return text + "}";
  };
  const std::string d_text = operand('o', c_registers, 0), a_text = operand('i', a_registers, next),
                    b_text = operand('i', b_registers, next += a_registers),
                    c_text = operand('i', c_registers, next += b_registers);
  const std::string code = "mma.sync.aligned." + what.shape.name + ".row.col." + what.accumulator + "." + what.input +
                           "." + what.input + "." + what.accumulator + " " + d_text + ", " + a_text + ", " + b_text +
                           ", " + c_text + ";";
  const std::vector<Words> results =
      run_lanes({code, std::string(rows[0].size(), 'r'), std::string(c_registers, 'r')}, rows);
  Matrix d(16, std::vector<double>(8));
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t j = 0; j < 8; ++j) {
      const Slot slot = slot_c(i, j);
      d[i][j] = value(results[slot.lane][slot.register_index] >> slot.shift, what.accumulator);
    }
  }
  return d;
}

/// f16 accumulators are beyond what decode kernels use: such a form is refused by name, or tested like the others.
std::vector<Multiplication> multiplications() {
  std::vector<Multiplication> known;
  for (const Multiplication& what : std::vector<Multiplication>{{{"m16n8k16", 16}, "bf16", "f32"},
                                                                {{"m16n8k16", 16}, "f16", "f32"},
                                                                {{"m16n8k16", 16}, "f16", "f16"},
                                                                {{"m16n8k8", 8}, "bf16", "f32"},
                                                                {{"m16n8k8", 8}, "f16", "f32"},
                                                                {{"m16n8k8", 8}, "f16", "f16"}}) {
    if (what.accumulator == "f16") {
      const std::string form = "mma.sync.aligned." + what.shape.name + ".row.col.f16.f16.f16.f16";
      const std::string operands = what.shape.k == 16 ? " {%r0, %r1}, {%r2, %r3, %r4, %r5}, {%r6, %r7}, {%r0, %r1};"
                                                      : " {%r0, %r1}, {%r2, %r3}, {%r6}, {%r0, %r1};";
      try {
        Module::parse(kernel_text(form + operands, 0));
      } catch (const MachineError& error) {
        CHECK(to_string(error.fault()) == to_string(Fault::unsupported));
        CHECK(std::string_view(error.what()).find(form) != std::string_view::npos);
        continue;
      }
    }
    known.push_back(what);
  }
  return known;
}

double dot(const Matrix& a, const Matrix& b, std::size_t i, std::size_t j) {
  double sum = 0;
  for (std::size_t k = 0; k < b.size(); ++k) sum += a[i][k] * b[k][j];
  return sum;
}

}  // namespace

TEST_CASE("mma of small integers is exact", "[ptx][matrix]") {
  std::mt19937 random(7);
  for (const Multiplication& what : multiplications()) {
    INFO(what.shape.name << " " << what.input << " into " << what.accumulator);
    const auto small = [&] { return static_cast<double>(static_cast<int>(random() % 15) - 7); };
    const Matrix a = filled(16, what.shape.k, small), b = filled(what.shape.k, 8, small), c = filled(16, 8, small);
    const Matrix d = multiply(what, a, b, c);
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < 8; ++j) REQUIRE(d[i][j] == dot(a, b, i, j) + c[i][j]);
    }
  }
}

TEST_CASE("mma maps every element of A and B to its own place", "[ptx][matrix]") {
  // One nonzero in B at a time makes a column of D a column of A, which holds a different number everywhere.
  for (const Multiplication& what : multiplications()) {
    INFO(what.shape.name << " " << what.input << " into " << what.accumulator);
    double next = 0;
    const Matrix a = filled(16, what.shape.k, [&] { return next += 1; }), zero = filled(16, 8, [] { return 0.0; });
    for (std::size_t k = 0; k < what.shape.k; ++k) {
      Matrix b = filled(what.shape.k, 8, [] { return 0.0; });
      b[k][(k * 3 + 1) % 8] = 1;
      const Matrix d = multiply(what, a, b, zero);
      for (std::size_t i = 0; i < 16; ++i) {
        for (std::size_t j = 0; j < 8; ++j) REQUIRE(d[i][j] == (j == (k * 3 + 1) % 8 ? a[i][k] : 0));
      }
    }
  }
}

TEST_CASE("mma of fractions stays within the rounding of its accumulator", "[ptx][matrix]") {
  std::mt19937 random(11);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (const Multiplication& what : multiplications()) {
    INFO(what.shape.name << " " << what.input << " into " << what.accumulator);
    const Format& format = what.input == "bf16" ? kBf16 : kF16;
    const auto fraction = [&] { return static_cast<double>(decode(encode(uniform(random), format), format)); };
    const Matrix a = filled(16, what.shape.k, fraction), b = filled(what.shape.k, 8, fraction);
    const Matrix c = filled(16, 8, [&] { return value(element(uniform(random), what.accumulator), what.accumulator); });
    const Matrix d = multiply(what, a, b, c);
    const double tolerance = what.accumulator == "f32" ? 0x1p-18 : 0x1p-7;
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < 8; ++j) REQUIRE(std::fabs(d[i][j] - (dot(a, b, i, j) + c[i][j])) <= tolerance);
    }
  }
}

TEST_CASE("mma lets NaN and infinity through, also when their weight is zero", "[ptx][matrix]") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const Multiplication& what : multiplications()) {
    INFO(what.shape.name << " " << what.input << " into " << what.accumulator);
    const Matrix zero_a = filled(16, what.shape.k, [] { return 0.0; }), c = filled(16, 8, [] { return 1.0; });
    Matrix b = filled(what.shape.k, 8, [] { return 1.0; });
    b[5][2] = nan;
    b[6][4] = inf;
    const Matrix d = multiply(what, zero_a, b, c);
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < 8; ++j) REQUIRE((j == 2 || j == 4 ? std::isnan(d[i][j]) : d[i][j] == 1.0));
    }
    const Matrix ones = filled(16, what.shape.k, [] { return 1.0; });
    CHECK(multiply(what, ones, b, c)[3][4] == inf);
  }
}

TEST_CASE("mma sums in f32, not in the input's precision", "[ptx][matrix]") {
  // 256 + 1 is not a bf16, and 2048 + 1 is not an f16.
  for (const Multiplication& what : multiplications()) {
    if (what.accumulator != "f32") continue;
    const Matrix a = filled(16, what.shape.k, [] { return 16.0; }), c = filled(16, 8, [] { return 1.0; });
    const Matrix b = filled(what.shape.k, 8, [] { return 16.0; });
    CHECK(multiply(what, a, b, c)[0][0] == 256.0 * static_cast<double>(what.shape.k) + 1.0);
  }
}

namespace {

// Four 8x8 matrices of 16-bit numbers in shared memory; the element of matrix m at row r, column c is 64 m + 8 r + c.
// Lanes 8m..8m+7 name the rows of matrix m. Rows lie 48 bytes apart, and in reverse order of the matrices.
const std::string kTiles =
    ".shared .align 16 .b8 tiles[2048]; mov.u32 %r1, tiles; shr.u32 %r2, %lane, 3; and.b32 %r3, %lane, 7; sub.u32 %r4, "
    "3, %r2; mad.lo.u32 %r5, %r4, 8, %r3; mad.lo.u32 %r20, %r5, 48, %r1; mul.lo.u32 %r6, %lane, 8; mul.lo.u32 %r7, "
    "%r6, 0x10001; add.u32 %r7, %r7, 0x10000;\n"
    "st.shared.u32 [%r20], %r7; add.u32 %r7, %r7, 0x20002; st.shared.u32 [%r20+4], %r7; add.u32 %r7, %r7, 0x20002; "
    "st.shared.u32 [%r20+8], %r7; add.u32 %r7, %r7, 0x20002; st.shared.u32 [%r20+12], %r7; bar.warp.sync -1;\n";

Word tile_element(std::size_t matrix, std::size_t row, std::size_t column) {
  return 64 * matrix + 8 * row + column;
}

std::vector<Example> loaded(std::size_t count, bool transposed) {
  std::vector<Example> examples(32, {{}, Words(count)});
  for (std::size_t m = 0; m < count; ++m) {
    for (std::size_t r = 0; r < 8; ++r) {
      for (std::size_t p = 0; p < 4; ++p) {
        const Word low = transposed ? tile_element(m, 2 * p, r) : tile_element(m, r, 2 * p);
        const Word high = transposed ? tile_element(m, 2 * p + 1, r) : tile_element(m, r, 2 * p + 1);
        examples[kLaneOfPair[r][p]].out[m] = high << 16 | low;
      }
    }
  }
  return examples;
}

}  // namespace

TEST_CASE("ldmatrix hands out one, two or four matrices, straight or transposed", "[ptx][matrix]") {
  const std::pair<std::string, std::string> counts[] = {
      {"x1", "{%o0}"}, {"x2", "{%o0, %o1}"}, {"x4", "{%o0, %o1, %o2, %o3}"}};
  std::size_t count = 1;
  for (const auto& [name, registers] : counts) {
    const std::string outputs(count, 'r');
    check_form({kTiles + "ldmatrix.sync.aligned.m8n8." + name + ".shared.b16 " + registers + ", [%r20];", "", outputs},
               loaded(count, false));
    check_form(
        {kTiles + "ldmatrix.sync.aligned.m8n8." + name + ".trans.shared.b16 " + registers + ", [%r20];", "", outputs},
        loaded(count, true));
    check_form({kTiles + "ldmatrix.sync.aligned.m8n8." + name + ".trans.shared::cta.b16 " + registers + ", [%r20+0];",
                "", outputs},
               loaded(count, true));
    count *= 2;
  }
  // The other order of shape and count, as other libraries write it, and a generic address, which is not taken.
  check_form({kTiles + "ldmatrix.sync.aligned.x4.m8n8.shared.b16 {%o0, %o1, %o2, %o3}, [%r20];", "", "rrrr"},
             loaded(4, false));
  check_form({kTiles + "ldmatrix.sync.aligned.trans.m8n8.x4.shared.b16 {%o0, %o1, %o2, %o3}, [%r20];", "", "rrrr"},
             loaded(4, true));
  check_form({kTiles + "cvt.u64.u32 %d1, %r20; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%o0, %o1, %o2, %o3}, [%d1];",
              "", "rrrr"},
             loaded(4, false));
  check_refused("ldmatrix.sync.aligned.m8n8.x2.b16 {%r1, %r2}, [%d1];", "generic");
}

TEST_CASE("ldmatrix needs row addresses of 16 bytes, inside shared memory", "[ptx][matrix]") {
  const auto load = [](const std::string& address) {
    return [address] {
      Bench(kernel_text(kTiles + address + "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r20];", 0))
          .launch({}, one_cta());
    };
  };
  CHECK(message_of(Fault::misaligned, load("add.u32 %r20, %r20, 8; ")).find("ldmatrix") != std::string::npos);
  CHECK(message_of(Fault::out_of_bounds, load("add.u32 %r20, %r20, 4096; ")).find("ldmatrix") != std::string::npos);
}

TEST_CASE("a matrix travels from memory through ldmatrix and mma as a product", "[ptx][matrix]") {
  // A is the 16x16 of tiles 0..3 laid out for x4; B the identity, so D is the left or right half of A.
  std::vector<Words> identity(32, Words(2));
  for (std::size_t k = 0; k < 8; ++k) {
    const Slot slot = b16(k, k);
    identity[slot.lane][slot.register_index] |= encode(1, kBf16) << slot.shift;
  }
  std::vector<Words> rows(32);
  for (std::size_t lane = 0; lane < 32; ++lane) rows[lane] = {identity[lane][0], identity[lane][1]};
  // Numbers below 256 are exact in bf16 but not as integers' bits: convert while storing.
  const std::string convert = "ld.shared.v4.u32 {%r10, %r11, %r12, %r13}, [%r20];\n";
  std::string body = kTiles + convert;
  for (int i = 10; i < 14; ++i) {
    const std::string r = "%r" + std::to_string(i);
    body += "and.b32 %r14, " + r + ", 0xffff; shr.u32 %r15, " + r +
            ", 16; cvt.rn.f32.u32 %f1, %r14; cvt.rn.f32.u32 %f2, %r15; cvt.rn.bf16x2.f32 " + r + ", %f2, %f1;\n";
  }
  body +=
      "st.shared.v4.b32 [%r20], {%r10, %r11, %r12, %r13}; bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x4.shared.b16 "
      "{%r10, %r11, %r12, %r13}, [%r20]; mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%o0, %o1, %o2, %o3}, "
      "{%r10, %r11, %r12, %r13}, {%i0, %i1}, {%f10, %f10, %f10, %f10};";
  const std::vector<Words> results = run_lanes({"mov.f32 %f10, 0f00000000;\n" + body, "rr", "rrrr"}, rows);
  for (std::size_t i = 0; i < 16; ++i) {
    for (std::size_t j = 0; j < 8; ++j) {
      const Slot slot = c32(i, j);
      REQUIRE(static_cast<double>(as_float(results[slot.lane][slot.register_index])) ==
              static_cast<double>(tile_element(i / 8, i % 8, j)));
    }
  }
}

}  // namespace librt::ptx::test
