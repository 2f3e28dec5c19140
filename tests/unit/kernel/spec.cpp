#include <librt/error.hpp>
#include <librt/spec.hpp>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/kernel/registry.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::thrown_by;

const GqaDecodeSpec kGqa{.dtype = DType::f16, .num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128, .page_size = 16};
const MlaDecodeSpec kMla{.dtype = DType::bf16, .num_heads = 16, .page_size = 64};

template <class Spec>
std::string complaint(const Spec& spec) {
  const auto thrown = thrown_by([&] { validate(spec); });
  if (!thrown) return "accepted";
  CHECK(thrown->code == ErrorCode::invalid_argument);
  return thrown->what;
}

std::string parse_complaint(std::string_view text) {
  const auto thrown = thrown_by([&] { parse_spec(text); });
  if (!thrown) return "accepted";
  CHECK(thrown->code == ErrorCode::invalid_argument);
  return thrown->what;
}

TEST_CASE("A spec's text is read back to an equal spec") {
  CHECK(to_string(kGqa) ==
        "gqa_decode dtype=f16 kv_dtype=f16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16");
  CHECK(to_string(kMla) ==
        "mla_decode dtype=bf16 kv_dtype=bf16 num_heads=16 head_dim_ckv=512 head_dim_kpe=64 page_size=64");
  GqaDecodeSpec gqa = kGqa;
  gqa.kv_dtype = DType::f16;
  MlaDecodeSpec mla = kMla;
  mla.kv_dtype = DType::bf16;
  CHECK(parse_spec(to_string(kGqa)) == Spec(gqa));
  CHECK(parse_spec(to_string(kMla)) == Spec(mla));
}

TEST_CASE("Keys come in any order and MLA has its defaults") {
  CHECK(parse_spec("mla_decode page_size=64 dtype=bf16 num_heads=16") == Spec(kMla));
  CHECK(parse_spec("  gqa_decode\tpage_size=16 head_dim=128  num_kv_heads=8 num_qo_heads=32 dtype=f16\n") ==
        Spec(kGqa));
  CHECK(kernel_name(parse_spec("mla_decode page_size=64 dtype=bf16 num_heads=16")) == "mla_decode");
}

TEST_CASE("A text that is not a spec names what is wrong") {
  CHECK(parse_complaint("") ==
        fmt::format("the spec is empty; allowed: {}, then key=value ...", fmt::join(kernel::names(), " or ")));
  CHECK(parse_complaint("mha dtype=bf16") ==
        fmt::format("kernel \"mha\" is not known; allowed: {}", fmt::join(kernel::names(), ", ")));
  CHECK(parse_complaint("mla_decode dtype=bf16 page_size=64") == "mla_decode: num_heads is missing");
  CHECK(parse_complaint("mla_decode dtype=bf16 page_size=64 num_heads=16 heads=3") ==
        "mla_decode: heads=3 is not a member of the spec; allowed: dtype, kv_dtype, num_heads, head_dim_ckv, "
        "head_dim_kpe, page_size");
  CHECK(parse_complaint("mla_decode dtype=fp8 page_size=64 num_heads=16") ==
        "mla_decode: dtype=fp8 is not supported; allowed: bf16, f16");
  CHECK(parse_complaint("mla_decode dtype=bf16 page_size=64x num_heads=16") ==
        "mla_decode: page_size=64x is not an integer; allowed: 1..65536");
  CHECK(parse_complaint("mla_decode dtype=bf16 page_size=99999999999 num_heads=16") ==
        "mla_decode: page_size=99999999999 is not supported; allowed: 1..65536");
  CHECK(parse_complaint("mla_decode dtype=bf16 page_size num_heads=16") ==
        "mla_decode: \"page_size\" is not of the form key=value");
  CHECK(parse_complaint("mla_decode dtype=bf16 page_size=1 page_size=2 num_heads=16") ==
        "mla_decode: page_size is given twice");
}

TEST_CASE("Every member of a GQA spec is checked") {
  CHECK(complaint(kGqa) == "accepted");
  auto with = [](auto member, auto value) {
    GqaDecodeSpec spec = kGqa;
    spec.*member = value;
    return complaint(spec);
  };
  CHECK(with(&GqaDecodeSpec::head_dim, 100) ==
        "gqa_decode: head_dim=100 is not supported; allowed: 64, 80, 96, 128, 192, 256");
  CHECK(with(&GqaDecodeSpec::page_size, 0) == "gqa_decode: page_size=0 is not supported; allowed: 1..65536");
  CHECK(with(&GqaDecodeSpec::page_size, 65537) == "gqa_decode: page_size=65537 is not supported; allowed: 1..65536");
  CHECK(with(&GqaDecodeSpec::num_kv_heads, 0) == "gqa_decode: num_kv_heads=0 is not supported; allowed: 1..65535");
  CHECK(with(&GqaDecodeSpec::num_qo_heads, 33) ==
        "gqa_decode: num_qo_heads=33 is not supported; allowed: 1 to 16 times num_kv_heads=8");
  CHECK(with(&GqaDecodeSpec::num_qo_heads, 136) ==
        "gqa_decode: num_qo_heads=136 is not supported; allowed: 1 to 16 times num_kv_heads=8");
  CHECK(with(&GqaDecodeSpec::num_qo_heads, 128) == "accepted");
  CHECK(with(&GqaDecodeSpec::kv_dtype, DType::bf16) ==
        "gqa_decode: kv_dtype=bf16 is not supported with dtype=f16; allowed: f16");
}

TEST_CASE("Every member of an MLA spec is checked") {
  CHECK(complaint(kMla) == "accepted");
  auto with = [](auto member, auto value) {
    MlaDecodeSpec spec = kMla;
    spec.*member = value;
    return complaint(spec);
  };
  CHECK(with(&MlaDecodeSpec::num_heads, 0) == "mla_decode: num_heads=0 is not supported; allowed: 1..128");
  CHECK(with(&MlaDecodeSpec::num_heads, 129) == "mla_decode: num_heads=129 is not supported; allowed: 1..128");
  CHECK(with(&MlaDecodeSpec::head_dim_ckv, 256) == "mla_decode: head_dim_ckv=256 is not supported; allowed: 512");
  CHECK(with(&MlaDecodeSpec::head_dim_kpe, 32) == "mla_decode: head_dim_kpe=32 is not supported; allowed: 64");
  CHECK(with(&MlaDecodeSpec::page_size, -1) == "mla_decode: page_size=-1 is not supported; allowed: 1..65536");
}

}  // namespace

TEST_CASE("a spec with a mistyped member names it, not the one that is missing", "[spec]") {
  CHECK(parse_complaint("mla_decode dtype=bf16 num_head=16 page_size=64") ==
        "mla_decode: num_head=16 is not a member of the spec; did you mean num_heads? Allowed: dtype, kv_dtype, "
        "num_heads, head_dim_ckv, head_dim_kpe, page_size");
  CHECK_THAT(parse_complaint("gqa_decode dtype=bf16 num_heads=32"), Catch::Contains("num_heads=32 is not a member"));
  CHECK_THAT(parse_complaint("mla_decod dtype=bf16"), Catch::Contains("did you mean mla_decode?"));
  CHECK_THAT(parse_complaint("gqa_decode sinks=true"), Catch::Contains("sinks=true is not a member of the spec"));
}

TEST_CASE("a spec shows no control characters, and no more than a line, of what was typed", "[spec]") {
  for (const std::string& word :
       {"dtype=\x1b[31m" + std::string(200'000, 'A'), "\x1b[31m" + std::string(200'000, 'A'),
        "\x1b[31m=" + std::string(200'000, 'A'), "page_size=\x1b[2J" + std::string(200'000, '1')}) {
    for (const std::string& text : {"mla_decode dtype=bf16 num_heads=16 page_size=64 " + word,
                                    "mla_decode num_heads=16 " + word, word + " dtype=bf16"}) {
      const std::string said = parse_complaint(text);
      CHECK(said.size() < 500);
      CHECK(said.find('\x1b') == std::string::npos);
    }
  }
}

}  // namespace librt
