// The layouts of mma.sync, ldmatrix and stmatrix against the figures of tests/support/layout_figures.hpp, by kernels in
// which a single element of an operand is set.
#include "tests/support/layouts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <iterator>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using librt::test::kProductWords, librt::test::kUntouched, librt::test::Layout, librt::test::MatrixForm,
    librt::test::MmaForm, librt::test::MmaLayouts, librt::test::Products, librt::test::Slot;

std::string registers(std::string_view name, unsigned count) {
  std::string text = "{";
  for (unsigned i = 0; i < count; ++i) text += fmt::format("{}%{}{}", i ? ", " : "", name, i);
  return text + "}";
}

/// Text that sets registers name0, name1, ... so that the slot whose number %slot holds is `one`, all else zero.
std::string set_one(std::string_view name, unsigned count, std::uint32_t one) {
  std::string text = fmt::format(
      "div.u32 %r1, %slot, {0}; setp.eq.u32 %p1, %r1, %lane; rem.u32 %r2, %slot, {0}; and.b32 %r3, %r2, 1; shl.b32 "
      "%r3, %r3, 4; mov.u32 %r4, {1}; shl.b32 %r4, %r4, %r3; shr.u32 %r2, %r2, 1;\n",
      2 * count, one);
  for (unsigned i = 0; i < count; ++i)
    fmt::format_to(std::back_inserter(text), "setp.eq.and.u32 %p2, %r2, {0}, %p1; selp.b32 %{1}{0}, %r4, 0, %p2;\n", i,
                   name);
  return text;
}

/// CTA n has slot n of A set and goes through the slots of B.
std::string product_kernel(const MmaForm& form) {
  std::string body =
      ".reg .b32 %a<4>, %b<2>, %slot, %ones;\n.reg .f32 %c<4>;\n.reg .b64 %words;\nmov.u32 %slot, %cta;\n";
  body += set_one("a", form.a_registers, form.one());
  body += fmt::format("mul.lo.u32 %r1, %cta, {}; mul.wide.u32 %words, %r1, 4; add.u64 %words, %words, %ptr0;\n",
                      form.b_slots() * kProductWords);
  body += "mov.u32 %slot, 0;\nNEXT:\n" + set_one("b", form.b_registers, form.one());
  body += "mov.f32 %c0, 0f00000000; mov.f32 %c1, %c0; mov.f32 %c2, %c0; mov.f32 %c3, %c0;\n";
  body += fmt::format("mma.sync.aligned.{0}.row.col.f32.{1}.{1}.f32 {2}, {3}, {4}, {2};\nsetp.ne.u32 %p3, 0, 0;\n",
                      form.shape, form.type, registers("c", 4), registers("a", form.a_registers),
                      registers("b", form.b_registers));
  for (unsigned i = 0; i < 4; ++i)
    fmt::format_to(std::back_inserter(body),
                   "setp.eq.f32 %p1, %c{0}, 0f3f800000; vote.sync.ballot.b32 %ones, %p1, -1; st.global.u32 "
                   "[%words+{1}], %ones; setp.neu.f32 %p2, %c{0}, 0f00000000; not.pred %p1, %p1; and.pred %p2, %p2, "
                   "%p1; or.pred %p3, %p3, %p2;\n",
                   i, 4 * i);
  body += fmt::format(
      "vote.sync.ballot.b32 %ones, %p3, -1; st.global.u32 [%words+16], %ones; add.u64 %words, %words, {}; add.u32 "
      "%slot, %slot, 1; setp.lt.u32 %p1, %slot, {}; @%p1 bra NEXT;",
      4 * kProductWords, form.b_slots());
  return kernel_text(body, 1);
}

Products products_of(const MmaForm& form) {
  Bench bench(product_kernel(form));
  const std::size_t words = std::size_t{form.a_slots()} * form.b_slots() * kProductWords;
  const std::uint64_t out = bench.upload(std::vector<std::uint32_t>(words, 0xdeadbeef));
  LaunchOptions options = one_cta();
  options.grid = {form.a_slots(), 1, 1};
  bench.launch({out}, options);
  return {form.a_slots(), form.b_slots(), bench.download<std::uint32_t>(out, words)};
}

/// Lane n gives the address of row n; the lanes that need not give any give that of row 32.
std::string row_address(unsigned rows) {
  return fmt::format(
      ".shared .align 16 .b8 tile[528]; mov.u32 %r1, tile; min.u32 %r2, %lane, {}; selp.u32 %r2, %lane, 32, %p1; "
      "mad.lo.u32 %r20, %r2, 16, %r1;\n",
      rows);
}

Layout load(const MatrixForm& form) {
  std::string body = fmt::format("setp.lt.u32 %p1, %lane, {};\n", 8 * form.count) + row_address(8 * form.count);
  body += "shl.b32 %r3, %lane, 3; mad.lo.u32 %r4, %lane, 16, %r1;\n";
  for (unsigned c = 0; c < 8; ++c)
    body += fmt::format("add.u32 %r5, %r3, {}; cvt.u16.u32 %h1, %r5; st.shared.u16 [%r4+{}], %h1;\n", c, 2 * c);
  body += "mov.u32 %r5, -1; st.shared.v4.u32 [tile+512], {%r5, %r5, %r5, %r5}; bar.warp.sync -1;\n";
  body += fmt::format(
      "ldmatrix.sync.aligned.m8n8.x{}{}.shared.b16 {}, [%r20];\nmul.wide.u32 %d1, %lane, 16; add.u64 "
      "%d1, %d1, %ptr0;\n",
      form.count, form.transposed ? ".trans" : "", registers("h32_", form.count));
  for (unsigned i = 0; i < form.count; ++i) body += fmt::format("st.global.u32 [%d1+{0}], %h32_{1};\n", 4 * i, i);
  Bench bench(kernel_text(".reg .b32 %h32_<4>;\n" + body, 1));
  const std::uint64_t out = bench.upload(std::vector<std::uint32_t>(128, 0xffffffff));
  bench.launch({out}, one_cta());
  return measure_load(bench.download<std::uint32_t>(out, 128), form);
}

Layout store(const MatrixForm& form) {
  std::string body = fmt::format("setp.lt.u32 %p1, %lane, {};\n", 8 * form.count) + row_address(8 * form.count);
  body +=
      "mad.lo.u32 %r4, %lane, 16, %r1; mov.u32 %r5, -1; st.shared.v4.u32 [%r4], {%r5, %r5, %r5, %r5}; "
      "st.shared.v4.u32 [tile+512], {%r5, %r5, %r5, %r5}; bar.warp.sync -1; shl.b32 %r3, %lane, 3;\n";
  for (unsigned i = 0; i < form.count; ++i)
    body += fmt::format("mad.lo.u32 %h32_{}, %r3, 0x10001, {};\n", i, (2 * i) | ((2 * i + 1) << 16));
  body += fmt::format("stmatrix.sync.aligned.m8n8.x{}{}.shared.b16 [%r20], {};\nbar.warp.sync -1;\n", form.count,
                      form.transposed ? ".trans" : "", registers("h32_", form.count));
  body +=
      "ld.shared.v4.u32 {%r6, %r7, %r8, %r9}, [%r4]; mul.wide.u32 %d1, %lane, 16; add.u64 %d1, %d1, %ptr0; "
      "st.global.v4.u32 [%d1], {%r6, %r7, %r8, %r9}; ld.shared.v4.u32 {%r6, %r7, %r8, %r9}, [tile+512]; "
      "st.global.v4.u32 [%ptr0+512], {%r6, %r7, %r8, %r9};";
  Bench bench(kernel_text(".reg .b32 %h32_<4>;\n" + body, 1));
  const std::uint64_t out = bench.zeros<std::uint16_t>(33 * 8);
  bench.launch({out}, one_cta());
  return measure_store(bench.download<std::uint16_t>(out, 33 * 8), form);
}

void swap_two(Layout& layout) {
  std::swap(layout[3][5], layout[6][2]);
}

}  // namespace

TEST_CASE("mma.sync has the layouts of the figures", "[ptx][layouts]") {
  for (const MmaForm& form : librt::test::mma_forms()) {
    INFO(form.name());
    const Products products = products_of(form);
    const MmaLayouts figures = figure_of(form);
    REQUIRE(difference(products, figures) == "");
    // So they do when measured one against the others.
    const MmaLayouts measured = measure(products, figures);
    CHECK(difference(measured.a, figures.a) == "");
    CHECK(difference(measured.b, figures.b) == "");
    CHECK(difference(measured.d, figures.d) == "");

    for (Layout MmaLayouts::*operand : {&MmaLayouts::a, &MmaLayouts::b, &MmaLayouts::d}) {
      MmaLayouts permuted = figures;
      swap_two(permuted.*operand);
      CHECK(difference(products, permuted) != "");
      CHECK(difference(measure(products, permuted).*operand, permuted.*operand) != "");
    }
  }
}

TEST_CASE("a product that is missing, doubled or wrong is noticed", "[ptx][layouts]") {
  const MmaForm& form = librt::test::mma_forms().front();
  const MmaLayouts figures = figure_of(form);
  const Products products = products_of(form);
  for (const auto& [word, value] : {std::pair{0, 0u}, {1, 1u}, {4, 1u}}) {
    Products altered = products;
    altered.words[static_cast<std::size_t>(word)] = value;  // slot 0 of A with slot 0 of B
    CHECK(difference(altered, figures).find("A T0:0 and B T0:0") != std::string::npos);
  }
}

TEST_CASE("ldmatrix and stmatrix have the layouts of the figures", "[ptx][layouts]") {
  for (const MatrixForm& form : librt::test::matrix_forms()) {
    INFO(form.name());
    const Layout measured = form.stores ? store(form) : load(form);
    Layout figure = figure_of(form);
    CHECK(difference(measured, figure) == "");
    swap_two(figure);
    CHECK(difference(measured, figure).find("row 3, column 5") != std::string::npos);
  }
}

TEST_CASE("figures are read as they are written", "[ptx][layouts]") {
  using librt::test::parse_layout, librt::test::to_rows;
  const Layout layout = parse_layout("T0:{a0,a1} T31:a5\n\nT1:a7 T2:{a0,a1}\n");
  CHECK(layout == Layout{{{0, 0}, {0, 1}, {31, 5}}, {{1, 7}, {2, 0}, {2, 1}}});
  CHECK(to_rows(layout, 'a') == std::vector<std::string>{"T0:{a0,a1} T31:a5", "T1:a7 T2:{a0,a1}"});
  for (const char* wrong :
       {"", "T32:a0", "T0:a0 T0:a0", "T0:a0\nT1:a0 T2:a0", "U0:a0", "T0", "T0:{a0,}", "T0:a", "T:a0"})
    CHECK_THROWS_AS(parse_layout(wrong), std::invalid_argument);
  const nlohmann::json json = librt::test::figures_json(true);
  CHECK(json.size() == 16);
  CHECK(json.at("mma.m16n8k16.f16").at("A").at(9) ==
        "T4:{a2,a3} T5:{a2,a3} T6:{a2,a3} T7:{a2,a3} T4:{a6,a7} T5:{a6,a7} T6:{a6,a7} T7:{a6,a7}");
  CHECK(json.at("ldmatrix.x4").at(17) == "T4:{r4,r5} T5:{r4,r5} T6:{r4,r5} T7:{r4,r5}");
}

}  // namespace librt::ptx::test
