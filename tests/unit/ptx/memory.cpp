// Loads and stores: every type, space, vector width, cache and ordering modifier, and address form.
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {
namespace {

using std::uint32_t, std::uint64_t, std::uint8_t;

constexpr Word kPattern = 0xf1e2d3c4b5a69788;

/// Text that stores %i0 (64 bits) to the lane's 64 bytes in `space` and leaves the address in %d1.
std::string own_bytes(const std::string& space) {
  const std::string lane_offset = "mul.wide.u32 %d2, %index, 64; add.u64 %d1, %d1, %d2; ";
  if (space == "global") return "mov.u64 %d1, bytes; " + lane_offset;
  if (space == "shared")
    return ".shared .align 16 .b8 box[2048]; mov.u64 %d1, box; mul.wide.u32 %d2, %tx, 64; add.u64 %d1, %d1, %d2; ";
  return ".local .align 16 .b8 own[64]; mov.u64 %d1, own; ";
}

const LaneOptions kScope{.module_scope = ".global .align 16 .b8 bytes[8192];"};

Word extended(Word value, int width, bool is_signed, char register_letter) {
  const Word low = value & ((Word{1} << width) - 1);
  const bool negative = is_signed && ((low >> (width - 1)) & 1) != 0;
  const Word wide = negative ? low | ~((Word{1} << width) - 1) : low;
  return register_letter == 'd' ? wide : register_letter == 'r' ? wide & 0xffffffff : wide & 0xffff;
}

}  // namespace

TEST_CASE("loads extend to the register by the sign of the type", "[ptx][memory]") {
  struct Narrow {
    std::string type;
    int width;
    bool is_signed;
  };
  for (const std::string space : {"global", "shared", "local"}) {
    for (const auto& [type, width, is_signed] : std::vector<Narrow>{{"u8", 8, false},
                                                                    {"s8", 8, true},
                                                                    {"b8", 8, false},
                                                                    {"u16", 16, false},
                                                                    {"s16", 16, true},
                                                                    {"b16", 16, false},
                                                                    {"u32", 32, false},
                                                                    {"s32", 32, true},
                                                                    {"b32", 32, false}}) {
      for (const char out : {'h', 'r', 'd'}) {
        if ((out == 'h' && width > 16)) continue;
        const Word first = extended(kPattern, width, is_signed, out),
                   second = extended(kPattern >> 32, width, is_signed, out);
        check_form({own_bytes(space) + "st." + space + ".b64 [%d1], %i0; ld." + space + "." + type +
                        " %o0, [%d1]; ld." + space + "." + type + " %o1, [%d1+4];",
                    "d",
                    {out, out}},
                   {{{kPattern}, {first, second}}}, kScope);
      }
    }
    for (const std::string type : {"u64", "s64", "b64", "f64"}) {
      check_form(
          {own_bytes(space) + "st." + space + "." + type + " [%d1+8], %i0; ld." + space + "." + type + " %o0, [%d1+8];",
           "d", "d"},
          {{{kPattern}, {kPattern}}}, kScope);
    }
    check_form({own_bytes(space) + "st." + space + ".f32 [%d1], %i0; ld." + space + ".f32 %o0, [%d1];", "r", "r"},
               {{{0x7f812345}, {0x7f812345}}}, kScope);
  }
}

TEST_CASE("narrow stores write only their own bytes", "[ptx][memory]") {
  for (const std::string space : {"global", "shared", "local"}) {
    const std::string start = own_bytes(space) + "st." + space + ".b64 [%d1], -1; ";
    const std::string finish = " ld." + space + ".b64 %o0, [%d1];";
    check_form({start + "st." + space + ".u8 [%d1+2], %i0;" + finish, "r", "d"}, {{{0x12345678}, {0xffffffffff78ffff}}},
               kScope);
    check_form({start + "st." + space + ".b16 [%d1+2], %i0;" + finish, "h", "d"}, {{{0x1234}, {0xffffffff1234ffff}}},
               kScope);
    check_form({start + "st." + space + ".u16 [%d1+6], %i0;" + finish, "r", "d"},
               {{{0x12345678}, {0x5678ffffffffffff}}}, kScope);
    check_form({start + "st." + space + ".u32 [%d1+4], %i0;" + finish, "r", "d"},
               {{{0x12345678}, {0x12345678ffffffff}}}, kScope);
    check_form({start + "st." + space + ".u8 [%d1+7], 5;" + finish, "", "d"}, {{{}, {0x05ffffffffffffff}}}, kScope);
  }
}

TEST_CASE("vector loads and stores keep the order of their elements", "[ptx][memory]") {
  for (const std::string space : {"global", "shared", "local"}) {
    const std::string head = own_bytes(space);
    for (const std::string type : {"b32", "u32", "s32", "f32"}) {
      check_form({head + "st." + space + ".v4." + type + " [%d1+16], {%i0, %i1, %i2, %i3}; ld." + space + ".v4." +
                      type + " {%o0, %o1, %o2, %o3}, [%d1+16];",
                  "rrrr", "rrrr"},
                 {{{1, 2, 3, 4}, {1, 2, 3, 4}}}, kScope);
      check_form(
          {head + "st." + space + ".v2." + type + " [%d1], {%i0, %i1}; ld." + space + ".b64 %o0, [%d1];", "rr", "d"},
          {{{0x11, 0x22}, {0x0000002200000011}}}, kScope);
    }
    check_form({head + "st." + space + ".v2.b64 [%d1], {%i0, %i1}; ld." + space +
                    ".v4.u32 {%o0, %o1, %o2, %o3}, [%d1]; ld." + space + ".v2.u64 {%o4, %o5}, [%d1];",
                "dd", "rrrrdd"},
               {{{0x0000000200000001, 0x0000000400000003}, {1, 2, 3, 4, 0x0000000200000001, 0x0000000400000003}}},
               kScope);
    check_form({head + "st." + space + ".v4.u16 [%d1], {%i0, %i1, %i2, %i3}; ld." + space +
                    ".v2.u16 {%o0, %o1}, [%d1+4]; ld." + space + ".b64 %o2, [%d1];",
                "hhhh", "hhd"},
               {{{1, 2, 3, 4}, {3, 4, 0x0004000300020001}}}, kScope);
    check_form({head + "st." + space + ".b32 [%d1], 0x84838281; ld." + space +
                    ".v4.u8 {%o0, %o1, %o2, %o3}, [%d1]; ld." + space + ".v2.s8 {%o4, %o5}, [%d1+2];",
                "", "hhhhhh"},
               {{{}, {0x81, 0x82, 0x83, 0x84, 0xff83, 0xff84}}}, kScope);
    check_form({head + "st." + space + ".b32 [%d1], 0; st." + space + ".v4.u8 [%d1], {%i0, %i0, %i1, %i1}; ld." +
                    space + ".u32 %o0, [%d1];",
                "hh", "r"},
               {{{0x1101, 0x2202}, {0x02020101}}}, kScope);
    check_form({head + "st." + space + ".v4.b32 [%d1], {1, 2, 3, 4}; ld." + space + ".v4.b32 {_, %o0, _, %o1}, [%d1];",
                "", "rr"},
               {{{}, {2, 4}}}, kScope);
  }
}

TEST_CASE("cache, eviction and ordering modifiers do not change what is read and written", "[ptx][memory]") {
  const std::string head = own_bytes("global");
  for (const std::string modifier :
       {".ca", ".cg", ".cs", ".lu", ".cv", ".nc", ".ca.nc", ".nc.L1::evict_last", ".nc.L1::no_allocate",
        ".nc.L1::no_allocate.L2::128B", ".nc.L1::evict_first.L2::256B", ".L1::evict_normal", ".L1::evict_unchanged",
        ".L2::64B", ".nc.L2::128B", ".nc.L2::256B", ".L1::no_allocate"}) {
    const auto load = [&](const std::string& vector, const std::string& type) {
      return "ld.global" + modifier + vector + "." + type;
    };
    check_form({head + "st.global.v2.b64 [%d1], {%i0, %i1}; " + load("", "u32") + " %o0, [%d1]; " + load(".v2", "b64") +
                    " {%o1, %o2}, [%d1]; " + load(".v4", "b32") + " {%o3, %o4, %o5, %o6}, [%d1];",
                "dd", "rddrrrr"},
               {{{0x0000000200000001, 0x0000000400000003}, {1, 0x0000000200000001, 0x0000000400000003, 1, 2, 3, 4}}},
               kScope);
  }
  for (const std::string modifier :
       {"ld.weak.global.u32", "ld.volatile.global.u32", "ld.relaxed.gpu.global.u32", "ld.relaxed.cta.global.u32",
        "ld.relaxed.sys.global.u32", "ld.acquire.gpu.global.u32", "ld.acquire.sys.global.u32",
        "ld.acquire.cta.global.u32", "ld.acquire.gpu.u32", "ld.relaxed.gpu.global.L1::no_allocate.u32"}) {
    check_form({head + "st.global.u32 [%d1], %i0; " + modifier + " %o0, [%d1];", "r", "r"}, {{{42}, {42}}}, kScope);
  }
  for (const std::string store :
       {"st.global.wb.u32", "st.global.cg.u32", "st.global.cs.u32", "st.global.wt.u32", "st.global.L1::no_allocate.u32",
        "st.global.L1::evict_last.u32", "st.weak.global.u32", "st.volatile.global.u32", "st.relaxed.gpu.global.u32",
        "st.release.gpu.global.u32", "st.release.sys.global.u32", "st.release.cta.global.u32", "st.release.gpu.u32"}) {
    check_form({head + store + " [%d1], %i0; ld.global.u32 %o0, [%d1];", "r", "r"}, {{{42}, {42}}}, kScope);
  }
  check_form({head + "createpolicy.fractional.L2::evict_last.b64 %d5, 1.0; st.global.u32 [%d1], %i0; "
                     "ld.global.L2::cache_hint.u32 %o0, [%d1], %d5; "
                     "ld.global.nc.L1::no_allocate.L2::cache_hint.L2::128B.v2.u32 {%o1, %r1}, [%d1], %d5;",
              "r", "rr"},
             {{{42}, {42, 42}}}, kScope);
  for (const std::string fence :
       {"fence.sc.gpu;", "fence.acq_rel.cta;", "fence.acq_rel.gpu;", "fence.acq_rel.sys;", "membar.cta;", "membar.gl;",
        "membar.sys;", "fence.proxy.async;", "prefetch.global.L2 [%d1];", "prefetch.global.L1 [%d1];",
        "prefetch.global.L2::evict_last [%d1];", "nanosleep.u32 20;"}) {
    check_form({head + "st.global.u32 [%d1], %i0; " + fence + " ld.global.u32 %o0, [%d1];", "r", "r"}, {{{42}, {42}}},
               kScope);
  }
}

TEST_CASE("shared memory: ordering modifiers and the cta sub-space", "[ptx][memory]") {
  const std::string head = own_bytes("shared");
  check_form({head + "st.shared::cta.u32 [%d1], %i0; ld.shared::cta.u32 %o0, [%d1]; ld.volatile.shared.u32 %o1, [%d1]; "
                     "ld.acquire.cta.shared.u32 %o2, [%d1]; st.volatile.shared.u32 [%d1], 3; "
                     "st.release.cta.shared::cta.u32 [%d1+4], 4; ld.shared.v2.u32 {%o3, %o4}, [%d1];",
              "r", "rrrrr"},
             {{{42}, {42, 42, 42, 3, 4}}}, kScope);
  // 32-bit registers hold shared addresses as well.
  check_form({".shared .align 8 .b8 small[64]; mov.u32 %r1, small; st.shared.u64 [%r1+8], %i0; add.u32 %r2, %r1, 16; "
              "ld.shared.u64 %o0, [%r2+-8]; ld.shared.u64 %o1, [small+8];",
              "d", "dd"},
             {{{kPattern}, {kPattern, kPattern}}});
}

TEST_CASE("every address form reaches the same bytes", "[ptx][memory]") {
  const LaneOptions scope{.module_scope = ".global .align 16 .u32 words[4] = {10, 20, 30, 40};"};
  check_form({"mov.u64 %d1, words; add.u64 %d2, %d1, 8; ld.global.u32 %o0, [words]; ld.global.u32 %o1, [words+4]; "
              "ld.global.u32 %o2, [%d2]; ld.global.u32 %o3, [%d2+-4]; ld.global.u32 %o4, [%d1+12];",
              "", "rrrrr"},
             {{{}, {10, 20, 30, 20, 40}}}, scope);
  check_form({"mov.u64 %d1, words+8; ld.global.u32 %o0, [%d1]; ld.global.u32 %o1, [%d1+-8];", "", "rr"},
             {{{}, {30, 10}}}, scope);
}

TEST_CASE("parameters of every type are read from their offsets", "[ptx][memory]") {
  const std::string text =
      ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry test(.param .u64 out, .param .u8 a, .param .u16 "
      "b, .param .f32 c, .param .align 16 .b8 block[24], .param .s8 last)\n{\n"
      ".reg .b64 %d<9>; .reg .b32 %r<9>; .reg .b16 %h<9>; ld.param.u64 %d1, [out]; cvta.to.global.u64 %d1, %d1; "
      "ld.param.u8 %h1, [a]; cvt.u32.u16 %r1, %h1; ld.param.u16 %h2, [b]; cvt.u32.u16 %r2, %h2; ld.param.f32 %r3, "
      "[c];\n"
      "ld.param.v2.u32 {%r4, %r5}, [block+8]; ld.param.u64 %d2, [block+16]; cvt.u32.u64 %r6, %d2; ld.param.s8 %r7, "
      "[last]; st.global.u32 [%d1], %r1; st.global.u32 [%d1+4], %r2; st.global.u32 [%d1+8], %r3; st.global.u32 "
      "[%d1+12], %r4; st.global.u32 [%d1+16], %r5; st.global.u32 [%d1+20], %r6; st.global.u32 [%d1+24], %r7;\n"
      "mov.b64 %d3, block; cvta.param.u64 %d4, %d3; ld.u32 %r8, [%d4+8]; st.global.u32 [%d1+28], %r8; ld.param.u32 "
      "%r8, [%d3+12]; st.global.u32 [%d1+32], %r8; ret;\n}\n";
  Bench bench(text);
  const uint64_t out = bench.zeros<uint32_t>(9);
  std::vector<std::byte> parameters(41);
  const auto put = [&](std::size_t offset, auto value) {
    std::memcpy(parameters.data() + offset, &value, sizeof value);
  };
  put(0, out);
  put(8, uint8_t{200});
  put(10, std::uint16_t{60000});
  put(12, 1.5F);
  put(16 + 8, uint32_t{81});
  put(16 + 12, uint32_t{82});
  put(16 + 16, uint64_t{0x100000053});
  put(40, uint8_t{0xfe});
  launch(bench.module, bench.memory, "test", parameters, LaunchOptions{});
  CHECK(bench.download<uint32_t>(out, 9) ==
        std::vector<uint32_t>{200, 60000, 0x3fc00000, 81, 82, 0x53, 0xfffffffe, 81, 82});
}

TEST_CASE("local memory belongs to one thread", "[ptx][memory]") {
  const std::vector<Words> rows = rows_of(128, [](uint32_t lane) { return Words{lane * 3 + 1}; });
  const std::vector<Words> results =
      run_lanes({".local .align 8 .b8 stack[64]; .local .u32 other; .reg .b64 %SP, %SPL; mov.u64 %SPL, stack; "
                 "cvta.local.u64 %SP, %SPL; st.u32 [%SP+8], %i0; st.local.u32 [other], 5; and.b32 %r1, %tx, 7; "
                 "mul.wide.u32 %d1, %r1, 4; add.u64 %d2, %SPL, %d1; add.u64 %d2, %d2, 16; st.local.u32 [%d2], %tx; "
                 "ld.local.u32 %o0, [%SPL+8]; ld.local.u32 %o1, [%d2]; ld.local.u32 %o2, [other];",
                 "r", "rrr"},
                rows, {.block = 64});
  for (uint32_t lane = 0; lane < 128; ++lane) CHECK(results[lane] == Words{lane * 3 + 1, lane % 64, 5});
}

TEST_CASE("threads of a CTA share shared memory, CTAs do not", "[ptx][memory]") {
  std::vector<Example> examples;
  for (uint32_t index = 0; index < 256; ++index) examples.push_back({{index}, {index / 64 * 64 + 63 - index % 64}});
  for (const unsigned threads : {1U, 3U}) {
    check_form({".shared .align 4 .b32 box[64]; mov.u32 %r1, box; mad.lo.u32 %r2, %tx, 4, %r1; st.shared.u32 [%r2], "
                "%i0; bar.sync 0; sub.u32 %r3, 63, %tx; mad.lo.u32 %r3, %r3, 4, %r1; ld.shared.u32 %o0, [%r3];",
                "r", "r"},
               examples, {.block = 64, .threads = threads});
  }
}

}  // namespace librt::ptx::test
