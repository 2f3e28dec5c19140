// Variables of module and function scope: initialisers, constants, extern shared memory, generic addresses.
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t, std::uint64_t;

void check_once(const std::string& scope, const Form& form, const Words& expected, const LaneOptions& base = {}) {
  LaneOptions options = base;
  options.module_scope = scope;
  check_form(form, {{{}, expected}}, options);
}

}  // namespace

TEST_CASE("module-scope variables hold their initialisers", "[ptx][variables]") {
  for (const std::string space : {"global", "const"}) {
    const std::string s = "." + space + " ", ld = "ld." + space;
    check_once(s + ".u32 one = 7;", {ld + ".u32 %o0, [one];", "", "r"}, {7});
    check_once(".visible " + s + ".align 4 .u32 one = 0xdeadbeef;", {ld + ".u32 %o0, [one];", "", "r"}, {0xdeadbeef});
    check_once(s + ".s32 list[4] = {-1, 2, -3};",
               {ld + ".u32 %o0, [list]; " + ld + ".u32 %o1, [list+8]; " + ld + ".u32 %o2, [list+12];", "", "rrr"},
               {0xffffffff, 0xfffffffd, 0});
    check_once(s + ".align 8 .b8 raw[12] = {1, 2, 3, 4, 255, 0x10, 7, 8};",
               {ld + ".u64 %o0, [raw]; " + ld + ".u32 %o1, [raw+8];", "", "dr"}, {0x080710ff04030201, 0});
    check_once(s + ".u16 grid[2][3] = {{1, 2, 3}, {4, 5, 6}};",
               {ld + ".u16 %o0, [grid+4]; " + ld + ".u16 %o1, [grid+8];", "", "hh"}, {3, 5});
    check_once(s + ".f32 pair[2] = {1.5, 0fC0000000};",
               {ld + ".f32 %o0, [pair]; " + ld + ".f32 %o1, [pair+4];", "", "rr"}, {bits(1.5F), bits(-2.0F)});
    check_once(s + ".f64 wide = 0d3FF8000000000000;", {ld + ".f64 %o0, [wide];", "", "d"}, {bits(1.5)});
    check_once(s + ".u64 big = 0xfedcba9876543210;", {ld + ".u64 %o0, [big];", "", "d"}, {0xfedcba9876543210});
    check_once(s + ".u32 nothing[3];", {ld + ".u32 %o0, [nothing+8];", "", "r"}, {0});
    check_once(s + ".align 16 .b32 open[] = {5, 6, 7};", {ld + ".u32 %o0, [open+8];", "", "r"}, {7});
  }
}

TEST_CASE("initialisers may be addresses", "[ptx][variables]") {
  const std::string list = ".global .align 4 .u32 list[4] = {10, 20, 30, 40};\n";
  check_once(list + ".global .u64 where = list;", {"ld.global.u64 %d1, [where]; ld.global.u32 %o0, [%d1];", "", "r"},
             {10});
  check_once(list + ".global .u64 where = list+8;", {"ld.global.u64 %d1, [where]; ld.global.u32 %o0, [%d1];", "", "r"},
             {30});
  check_once(
      list + ".global .u64 where[2] = {generic(list), generic(list)+12};",
      {"ld.global.u64 %d1, [where+8]; ld.u32 %o0, [%d1]; ld.global.u64 %d1, [where]; ld.u32 %o1, [%d1];", "", "rr"},
      {40, 10});
  check_once(list + ".const .u64 where[1] = {generic(list)};",
             {"ld.const.u64 %d1, [where]; ld.u32 %o0, [%d1+4];", "", "r"}, {20});
}

TEST_CASE("an address may be taken before its variable is declared with extern-like order", "[ptx][variables]") {
  check_once(".global .u32 first = 1;\n.global .u32 second = 2;",
             {"mov.u64 %d1, first; mov.u64 %d2, second; ld.global.u32 %o0, [%d1]; ld.global.u32 %o1, [%d2]; "
              "setp.ne.u64 %o2, %d1, %d2;",
              "", "rrp"},
             {1, 2, 1});
}

TEST_CASE("a module-scope variable is writable and seen by every CTA", "[ptx][variables]") {
  const std::vector<Words> results =
      run_lanes({"atom.global.add.u32 %o0, [counter], 1;", "", "r"}, std::vector<Words>(128),
                {.module_scope = ".global .u32 counter = 100;"});
  std::vector<bool> seen(128);
  for (const Words& row : results) {
    REQUIRE((row[0] >= 100 && row[0] < 228));
    seen[row[0] - 100] = true;
  }
  CHECK(std::count(seen.begin(), seen.end(), true) == 128);
}

TEST_CASE("alignment of variables is kept", "[ptx][variables]") {
  check_once(".global .b8 odd[3];\n.global .align 128 .b8 wide[4];\n.global .b8 odd2[1];\n.global .f64 number;",
             {"mov.u64 %d1, wide; and.b64 %o0, %d1, 127; mov.u64 %d2, number; and.b64 %o1, %d2, 7;", "", "dd"}, {0, 0});
  check_once("",
             {".shared .b8 odd[3]; .shared .align 128 .b8 wide[4]; .shared .b8 odd2[1]; .shared .f64 number; mov.u32 "
              "%r1, wide; and.b32 %o0, %r1, 127; mov.u32 %r2, number; and.b32 %o1, %r2, 7; mov.u32 %r3, odd; "
              "setp.ne.u32 %o2, %r1, %r3;",
              "", "rrp"},
             {0, 0, 1});
  check_once("",
             {".local .b8 odd[3]; .local .align 16 .b8 wide[16]; mov.u64 %d1, wide; and.b64 %o0, %d1, 15; "
              "st.local.v4.b32 [wide], {1, 2, 3, 4}; ld.local.b32 %o1, [wide+12];",
              "", "dr"},
             {0, 4});
}

TEST_CASE("dynamic shared memory follows the static one", "[ptx][variables]") {
  check_once(".extern .shared .align 16 .b8 dynamic[];\n.shared .align 4 .u32 fixed;",
             {"st.shared.u32 [fixed], 1; mov.u32 %r1, dynamic; st.shared.u32 [%r1], 2; st.shared.u32 [%r1+252], 3; "
              "ld.shared.u32 %o0, [fixed]; ld.shared.u32 %o1, [dynamic]; ld.shared.u32 %o2, [dynamic+252]; and.b32 "
              "%o3, %r1, 15; mov.u32 %o4, %dynamic_smem_size;",
              "", "rrrrr"},
             {1, 2, 3, 0, 256}, {.shared_bytes = 256});
  // Two extern arrays are two names for the same bytes.
  check_once(".extern .shared .align 16 .b8 one[];\n.extern .shared .align 8 .b64 two[];",
             {"st.shared.u32 [one+4], 9; ld.shared.u64 %o0, [two]; and.b64 %o0, %o0, 0xffffffff00000000;", "", "d"},
             {Word{9} << 32}, {.shared_bytes = 64});
}

TEST_CASE("generic addresses reach every space", "[ptx][variables]") {
  check_once(".global .u32 g = 1;\n.const .u32 c = 4;",
             {".shared .u32 s; .local .u32 l; st.shared.u32 [s], 2; st.local.u32 [l], 3; mov.u64 %d1, g; mov.u64 %d2, "
              "s; mov.u64 %d3, l; mov.u64 %d4, c; cvta.global.u64 %d1, %d1; cvta.shared.u64 %d2, %d2; cvta.local.u64 "
              "%d3, %d3; cvta.const.u64 %d4, %d4;\n"
              "ld.u32 %o0, [%d1]; ld.u32 %o1, [%d2]; ld.u32 %o2, [%d3]; ld.u32 %o3, [%d4]; st.u32 [%d2], 20; st.u32 "
              "[%d3], 30; ld.shared.u32 %o4, [s]; ld.local.u32 %o5, [l]; cvta.to.shared.u64 %d6, %d2; ld.shared.u32 "
              "%o6, [%d6]; cvta.to.global.u64 %d7, %d1; ld.global.u32 %o7, [%d7]; cvta.to.local.u64 %d8, %d3; "
              "ld.local.u32 %o8, [%d8]; cvta.shared::cta.u64 %d9, %d6; ld.u32 %o9, [%d9];",
              "", "rrrrrrrrrr"},
             {1, 2, 3, 4, 20, 30, 20, 1, 30, 20});
  // What __cvta_generic_to_shared gives: the low 32 bits are a shared address.
  check_once("",
             {".shared .align 8 .b8 box[32]; st.shared.u32 [box+8], 77; mov.u64 %d1, box; cvta.shared.u64 %d1, %d1; "
              "add.u64 %d1, %d1, 8; cvta.to.shared.u64 %d2, %d1; cvt.u32.u64 %r1, %d2; ld.shared.u32 %o0, [%r1];",
              "", "r"},
             {77});
}

TEST_CASE("isspacep tells the space of a generic address", "[ptx][variables]") {
  check_once(
      ".global .u32 g;\n.const .u32 c;",
      {".shared .u32 s; .local .u32 l; mov.u64 %d1, g; cvta.global.u64 %d1, %d1; mov.u64 %d2, s; cvta.shared.u64 %d2, "
       "%d2; mov.u64 %d3, l; cvta.local.u64 %d3, %d3; isspacep.global %o0, %d1; isspacep.shared %o1, %d1; "
       "isspacep.shared %o2, %d2; isspacep.global %o3, %d2; isspacep.local %o4, %d3; isspacep.shared::cta %o5, %d2;",
       "", "pppppp"},
      {1, 0, 1, 0, 1, 1});
}

TEST_CASE("module-scope shared memory and tentative declarations", "[ptx][variables]") {
  check_once(".shared .align 16 .b8 pool[64];\n.extern .shared .b8 rest[];",
             {"st.shared.u32 [pool+60], 4; ld.shared.u32 %o0, [pool+60];", "", "r"}, {4});
}

}  // namespace librt::ptx::test
