// Text that is not PTX, or is PTX cut short or damaged: a MachineError every time, never a crash, a hang or a module.
#include <random>

#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

/// True when `text` is a module, false when it is refused; anything but a MachineError escapes and fails the test.
bool accepted(std::string_view text) {
  try {
    return !Module::parse(text).entries().empty();
  } catch (const MachineError& error) {
    CHECK((error.fault() == Fault::syntax || error.fault() == Fault::unsupported));
    CHECK(error.what()[0] != '\0');
    return false;
  }
}

void check_malformed(std::string_view text) {
  INFO(text.substr(0, 200));
  CHECK_FALSE(accepted(text));
}

std::string entry(const std::string& body, const std::string& scope = "") {
  return ".version 9.0\n.target sm_80\n.address_size 64\n" + scope +
         "\n.visible .entry k(.param .u64 a)\n{\n.reg .b32 %r<8>;\n.reg .b64 %d<8>;\n.reg .pred %p<4>;\n" + body +
         "\nret;\n}\n";
}

/// A bit of everything that the parser knows.
const std::string kRich =
    "//\n// Generated\n//\n.version 9.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 16 .b8 "
    "dynamic[];\n.global .align 4 .u32 table[2][2] = {{1, 2}, {3, 4}};\n.global .u64 where = generic(table)+4;\n.const "
    ".f32 pi = 0f40490FDB;\n"
    ".visible .entry k(\n .param .u64 a,\n .param .align 8 .b8 b[16]\n)\n.maxntid 128, 1, 1\n.minnctapersm 2\n{\n .reg "
    ".pred %p<3>;\n .reg .b16 %rs<3>;\n .reg .b32 %r<9>;\n .reg .b64 %rd<5>;\n .shared .align 16 .b8 tile[64];\n "
    ".local .align 8 .b8 stack[16];\n"
    " ld.param.u64 %rd1, [a];\n cvta.to.global.u64 %rd2, %rd1;\n mov.u32 %r1, %tid.x;\n setp.gt.and.s32 %p1|%p2, %r1, "
    "-5, !%p1;\n @!%p1 bra $L__BB0_2;\n ld.global.nc.L1::no_allocate.v2.u32 {%r2, %r3}, [%rd2+8];\n { .reg .b32 t; "
    "mov.b32 t, {%rs1, %rs2}; add.s32 %r4, t, 0x1F; }\n"
    "$L__BB0_2:\n /* comment */ shfl.sync.bfly.b32 %r5|%p2, %r4, 16, 31, -1;\n fma.rn.f32 %r6, %r5, 0f3F800000, 0.5;\n "
    "st.global.v2.b32 [%rd2], {%r5, %r6};\n ret;\n}\n";

}  // namespace

TEST_CASE("text that is no module is refused", "[ptx][malformed]") {
  for (const std::string_view text : {"",
                                      " ",
                                      "\n",
                                      "x",
                                      "{",
                                      "}",
                                      ";",
                                      ".",
                                      ".version",
                                      ".version 9.0",
                                      "// only a comment",
                                      "/*",
                                      "\"",
                                      "\\",
                                      "%",
                                      "<>",
                                      "\x7f"
                                      "ELF\x02\x01",
                                      "#include <x>",
                                      ".entry",
                                      ".version 9.0\n.target",
                                      ".version x\n.target sm_80\n",
                                      ".version 9.0 .target sm_80 .address_size 33",
                                      ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry"})
    check_malformed(text);
  check_malformed(std::string_view("\0\0\0", 3));
  check_malformed(std::string(100000, '{'));
  check_malformed(std::string(100000, '('));
  check_malformed(".version 9.0\n.target sm_80\n.address_size 64\n" + std::string(100000, '{'));
}

TEST_CASE("32-bit addresses are refused", "[ptx][malformed]") {
  check_malformed(".version 9.0\n.target sm_80\n.address_size 32\n.visible .entry k()\n{\nret;\n}\n");
}

TEST_CASE("damaged statements are refused", "[ptx][malformed]") {
  for (const std::string body : {
           "add.s32 %r1, %r2, %r3",
           "add.s32 %r1 %r2, %r3;",
           "add.s32 %r1,, %r3;",
           "add.s32 , %r2, %r3;",
           "add.s32 %r1, %r2, %r3,;",
           "add..s32 %r1, %r2, %r3;",
           ".s32 %r1, %r2, %r3;",
           "add.s32. %r1, %r2, %r3;",
           "@ add.s32 %r1, %r2, %r3;",
           "@! add.s32 %r1, %r2, %r3;",
           "@%p1 ;",
           "@%p1 L: ret;",
           "mov.u32 %r1, ;",
           "mov.u32 %r1, 0x;",
           "mov.u32 %r1, 0b2;",
           "mov.u32 %r1, 09;",
           "mov.u32 %r1, 1e;",
           "mov.f32 %r1, 0f123;",
           "mov.f32 %r1, 0f3F8000000;",
           "mov.u32 %r1, 99999999999999999999999;",
           "mov.u32 %r1, (1+);",
           "mov.u32 %r1, 1/0;",
           "ld.global.u32 %r1, [%d1;",
           "ld.global.u32 %r1, %d1];",
           "ld.global.u32 %r1, [];",
           "ld.global.u32 %r1, [%d1+];",
           "ld.global.u32 %r1, [%d1+%d2];",
           "ld.global.u32 %r1, [%r1];",
           "mov.b64 {%r1, %r2, %d1;",
           "mov.b64 {}, %d1;",
           "setp.eq.s32 %p1|, %r1, %r2;",
           "setp.eq.s32 |%p1, %r1, %r2;",
           "{ mov.u32 %r1, 1;",
           "mov.u32 %r1, 1; }",
           "L: L: mov.u32 %r1, 1;",
           "L: mov.u32 %r1, 1;\nL: mov.u32 %r1, 2;",
           ".reg .b32 %r1;",
           ".reg .b32 %x<;",
           ".reg .b32 %x<0x>;",
           ".reg .b32 %x<-1>;",
           ".reg %x;",
           ".reg .b32 %x",
           ".shared .b8 x[-1];",
           ".shared .b8 x[",
           ".shared .b8 x[2;",
           ".shared .align 0 .b8 x[2];",
           ".shared x[2];",
           ".loc 1 2",
           "TABLE: .branchtargets NOWHERE;",
           "{ .reg .b32 %scoped; }\nmov.u32 %scoped, 1;",
           "{ L: mov.u32 %r1, 1; }\nbra L;",
       }) {
    check_malformed(entry(body));
  }
}

TEST_CASE("damaged declarations of module scope are refused", "[ptx][malformed]") {
  for (const std::string scope : {
           ".global .u32 x = ;",
           ".global .u32 x = {1, 2};",
           ".global .u32 x[2] = {1, 2, 3};",
           ".global .u32 x[2] = {1, 2;",
           ".global .u32 x[2] = 1, 2};",
           ".global .u32 x = nothing;",
           ".global .u32 x[] ;",
           ".global .u32 x;\n.global .u32 x;",
           ".global .u32 k;",
           ".global .u64 x = generic();",
           ".global .u64 x = generic(x;",
           ".const .f32 x = 0f12;",
           ".extern .shared .b8 x[;",
           ".shared .u32 x = 5;",
           ".visible .entry k() { ret; }",
           ".visible .entry (.param .u64 a) { ret; }",
           ".visible .entry j(.param .u64) { ret; }",
           ".visible .entry j(.param .u64 a .param .u64 b) { ret; }",
           ".visible .entry j(.param .u64 a, .param .u64 a) { ret; }",
           ".visible .entry j(.param .u64 a, .param .ptr b) { ret; }",
           ".visible .entry j(.param b) { ret; }",
           ".global .align 4 x[2];",
           ".global .v2 x;",
           ".visible .entry j(.param .u64 a, ) { ret; }",
       }) {
    check_malformed(entry("", scope));
  }
}

TEST_CASE("sizes that no machine has are refused without being allocated", "[ptx][malformed]") {
  check_malformed(entry(".reg .b32 %x<4294967295>;"));
  check_malformed(entry(".reg .b32 %x<18446744073709551615>;"));
  check_malformed(entry(".reg .b32 %x<99999999999999999999999>;"));
  check_malformed(entry(".shared .b8 x[18446744073709551615];"));
  check_malformed(entry(".shared .b64 x[2305843009213693953];"));
  check_malformed(entry(".local .b8 x[9223372036854775807];"));
  check_malformed(entry("", ".global .b8 x[18446744073709551615];"));
  check_malformed(entry("", ".global .b8 x[4294967296][4294967296];"));
  check_malformed(entry("", ".global .align 4611686018427387904 .b8 x[4];"));
  check_malformed(
      ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .align 8 .b8 "
      "a[9223372036854775800])\n{\nret;\n}\n");
}

TEST_CASE("a module cut off anywhere is refused", "[ptx][malformed]") {
  REQUIRE(accepted(kRich));
  const std::size_t end = kRich.rfind('}');
  for (std::size_t length = 0; length < kRich.size(); ++length) {
    // Cut inside of the module-scope part it may still be whole, but then it has no entry.
    INFO("cut to " << length << " bytes");
    REQUIRE(accepted(std::string_view(kRich).substr(0, length)) == (length > end));
  }
}

TEST_CASE("a damaged byte never crashes the parser", "[ptx][malformed]") {
  std::mt19937 random(3);
  std::size_t refused = 0;
  for (std::size_t position = 0; position < kRich.size(); ++position) {
    for (const char c : {'{', '}', ';', '9', '.', '%', '\0', '\xff', static_cast<char>(random())}) {
      std::string text = kRich;
      text[position] = c;
      refused += accepted(text) ? 0 : 1;
    }
  }
  CHECK(refused > kRich.size());
}

TEST_CASE("lines dropped, doubled or exchanged never crash the parser", "[ptx][malformed]") {
  std::vector<std::string> lines;
  for (std::size_t start = 0; start < kRich.size();) {
    const std::size_t end = kRich.find('\n', start);
    lines.push_back(kRich.substr(start, end - start + 1));
    start = end + 1;
  }
  std::mt19937 random(5);
  std::size_t refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> changed = lines;
    for (auto edits = 1 + random() % 3; edits > 0; --edits) {
      const std::size_t at = random() % changed.size(), other = random() % changed.size();
      switch (random() % 3) {
        case 0:
          changed[at].clear();
          break;
        case 1:
          changed[at] += changed[at];
          break;
        default:
          std::swap(changed[at], changed[other]);
      }
    }
    std::string text;
    for (const std::string& line : changed) text += line;
    refused += accepted(text) ? 0 : 1;
  }
  CHECK(refused > 100);
}

TEST_CASE("line ends of other systems, tabs and missing final newlines are fine", "[ptx][malformed]") {
  std::string text;
  for (const char c : kRich) text += c == '\n' ? std::string("\r\n") : std::string(1, c);
  CHECK(accepted(text));
  std::string tabs = kRich;
  for (char& c : tabs) c = c == ' ' ? '\t' : c;
  CHECK(accepted(tabs));
  CHECK(accepted(kRich.substr(0, kRich.size() - 1)));
}

TEST_CASE("a module cannot ask for more than a machine has", "[ptx][malformed]") {
  const std::string target = ".version 8.0\n.target sm_80\n.address_size 64\n";
  for (const std::string variables :
       {".global .b64 x[1073741824];", ".global .b64 x[1073741824] = {1};", ".const .v4 .b64 x[8388609];",
        ".global .b8 x[200000000]; .const .b8 y[100000000];"}) {
    const std::string message = message_of(Fault::unsupported, [&] { Module::parse(target + variables); });
    CHECK_THAT(message, Catch::Contains("bytes of variables"));
  }
  CHECK(Module::parse(target + ".global .b8 x[200000000];").entries().empty());
  check_refused(".reg .b32 %x<1048576>, %y<1048576>, %z<1048576>, %w<1048576>, %v<2>;", "registers");
  check_refused(".local .b8 big[524289];", "'big' is too large");
  check_refused(".shared .b8 big[16777217];", "'big' is too large");
}

TEST_CASE("a module tells its version, target and entries", "[ptx][malformed]") {
  const Module module = Module::parse(kRich);
  CHECK(module.version() == "9.0");
  CHECK(module.target() == "sm_90a");
  CHECK(module.entries() == std::vector<std::string>{"k"});
  const Module two = Module::parse(
      ".version 8.7\n.target sm_80, texmode_independent\n.address_size 64\n.visible .entry "
      "second()\n{\nret;\n}\n.entry first()\n{\nret;\n}\n");
  CHECK(two.version() == "8.7");
  CHECK(two.target() == "sm_80");
  CHECK(two.entries() == std::vector<std::string>{"second", "first"});
}

namespace {

std::string repeated(std::size_t count, std::string_view text) {
  std::string out;
  out.reserve(count * text.size());
  for (std::size_t i = 0; i < count; ++i) out += text;
  return out;
}

std::string complaint_about(const std::string& text) {
  try {
    Module::parse(text);
    return "accepted";
  } catch (const MachineError& error) {
    return error.what();
  }
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("modules that are out of all proportion are refused by what they have too much of", "[ptx][malformed]") {
  CHECK(contains(complaint_about(repeated((std::size_t{8} << 20) + 1, "\n")), "bytes of text, at most"));
  CHECK(contains(complaint_about(entry(repeated(300, "{") + repeated(300, "}"))),
                 "more than 256 scopes inside each other"));
  CHECK(contains(complaint_about(entry(repeated(600'000, "l:"))), "more than 524288 statements"));
  std::string entries = ".version 9.0\n.target sm_80\n.address_size 64\n";
  for (int i = 0; i < 5000; ++i) entries += fmt::format(".entry e{}(){{ret;}}\n", i);
  CHECK(contains(complaint_about(entries), "more than 4096 entries"));
  std::string variables;
  for (int i = 0; i < 5000; ++i) variables += fmt::format(".global .u32 v{};\n", i);
  CHECK(contains(complaint_about(entry("", variables)), "more than 4096 variables outside of entries"));
}

TEST_CASE("200,000 registers in one scope are as quickly declared as in any number of scopes", "[ptx][malformed]") {
  std::string registers;
  for (int i = 0; i < 200'000; ++i) registers += fmt::format(".reg .b32 x{};\n", i);
  CHECK(complaint_about(entry(registers)) == "accepted");
  CHECK(contains(complaint_about(entry(registers + ".reg .b32 x<2>;")), "register 'x0' is declared twice"));
}

TEST_CASE("a register that a family names too is refused, whichever comes first", "[ptx][malformed]") {
  for (const char* twice :
       {".reg .b32 y<8>; .reg .b32 y3;", ".reg .b32 y3; .reg .b32 y<8>;", ".reg .b32 y0; .reg .b32 y<1>;",
        ".reg .b32 y9, y3; .reg .b32 y<4>;", ".reg .b32 y12<4>; .reg .b32 y123;"})
    CHECK(contains(complaint_about(entry(twice)), "is declared twice"));
  for (const char* apart : {".reg .b32 y<8>; .reg .b32 y8;", ".reg .b32 y8; .reg .b32 y<8>;",
                            ".reg .b32 y03; .reg .b32 y<8>;", ".reg .b32 y12<4>; .reg .b32 y124; .reg .b32 y<12>;"})
    CHECK(complaint_about(entry(apart)) == "accepted");
}

}  // namespace librt::ptx::test
