#include <librt/manifest.hpp>

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>

#include "src/kernel/registry.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using Catch::Contains;

const std::string kGqa = "gqa_decode dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16";

/// A manifest of these entries, each JSON.
std::string of_entries(const std::string& entries) {
  return fmt::format(R"({{"specs": [{}]}})", entries);
}

std::vector<std::string> specs_of(const std::string& entries) {
  std::vector<std::string> lines;
  for (const Spec& spec : parse_manifest(of_entries(entries), "m.json").specs) lines.push_back(to_string(spec));
  return lines;
}

std::vector<int> page_sizes(const std::string& values) {
  std::vector<int> sizes;
  const std::string line = fmt::format(R"("mla_decode dtype=bf16 num_heads=16 page_size={}")", values);
  for (const Spec& spec : parse_manifest(of_entries(line), "m.json").specs) {
    sizes.push_back(spec.get("page_size"));
  }
  return sizes;
}

std::string complaint(const std::string& text) {
  const auto thrown = test::thrown_by([&] { parse_manifest(text, "m.json"); });
  if (!thrown) return "accepted";
  CHECK(thrown->code == ErrorCode::invalid_argument);
  return thrown->what;
}

std::string entry_complaint(const std::string& entry) {
  return complaint(of_entries(fmt::format(R"("{}", {})", kGqa, entry)));
}

TEST_CASE("A manifest is what its text says", "[manifest]") {
  const Manifest manifest = parse_manifest(
      R"({"note": "n", "source": "s", "archs": ["sm_80", "sm_90a", "sm_80", "compute_80"], "specs": [")" + kGqa +
          R"("]})",
      "m.json");
  CHECK(manifest.source == "s");
  CHECK(manifest.note == "n");
  CHECK(manifest.archs == std::vector<Arch>{{80, 0, false}, {90, 'a', false}, {80, 0, true}});
  CHECK(manifest.specs == std::vector<Spec>{parse_spec(kGqa)});
  const Manifest least = parse_manifest(R"({"specs": []})", "m.json");
  CHECK(least == Manifest{});
}

TEST_CASE("What ships is a manifest", "[manifest]") {
  const Manifest matrix = read_manifest(LIBRT_SOURCE_DIR "/kernels/gqa_decode/matrix.json");
  CHECK(matrix.archs.size() == 4);
  CHECK(matrix.specs.size() == 28);
  CHECK(parse_manifest(to_json(matrix), "again") == matrix);
}

TEST_CASE("Members have several values, by commas and lists", "[manifest]") {
  CHECK(page_sizes("16") == std::vector{16});
  CHECK(page_sizes("64,1,16") == std::vector{64, 1, 16});
  CHECK(page_sizes("2,12,2") == std::vector{2, 12});
}

TEST_CASE("An entry is every combination, the last member fastest, and equal specs are one", "[manifest]") {
  const std::vector<std::string> expected{
      "mla_decode dtype=f16 kv_dtype=f16 num_heads=16 head_dim_ckv=512 head_dim_kpe=64 page_size=64",
      "mla_decode dtype=f16 kv_dtype=f16 num_heads=16 head_dim_ckv=512 head_dim_kpe=64 page_size=1",
      "mla_decode dtype=f16 kv_dtype=f16 num_heads=128 head_dim_ckv=512 head_dim_kpe=64 page_size=64",
      "mla_decode dtype=f16 kv_dtype=f16 num_heads=128 head_dim_ckv=512 head_dim_kpe=64 page_size=1",
      "mla_decode dtype=bf16 kv_dtype=bf16 num_heads=16 head_dim_ckv=512 head_dim_kpe=64 page_size=64",
      "mla_decode dtype=bf16 kv_dtype=bf16 num_heads=16 head_dim_ckv=512 head_dim_kpe=64 page_size=1",
      "mla_decode dtype=bf16 kv_dtype=bf16 num_heads=128 head_dim_ckv=512 head_dim_kpe=64 page_size=64",
      "mla_decode dtype=bf16 kv_dtype=bf16 num_heads=128 head_dim_ckv=512 head_dim_kpe=64 page_size=1"};
  CHECK(specs_of(R"("mla_decode page_size=64,1 num_heads=16,128 dtype=f16,bf16")") == expected);
  CHECK(specs_of(
            R"({"page_size": [64, "1"], "kernel": "mla_decode", "dtype": ["f16", "bf16"], "num_heads": "16,128"})") ==
        expected);
  CHECK(specs_of(R"("mla_decode page_size=64,1,64 num_heads=16,128 dtype=f16,bf16",
                    {"kernel": "mla_decode", "dtype": "f16", "num_heads": 16, "page_size": 1})") == expected);
  CHECK(
      specs_of(
          R"("mla_decode page_size=4 num_heads=16 dtype=f16", "mla_decode page_size=4 num_heads=16 dtype=f16 kv_dtype=f16")")
          .size() == 1);
  CHECK(specs_of(R"({"kernel": "gqa_decode", "dtype": "bf16", "num_qo_heads": [8, "16,32"], "num_kv_heads": 8,
                    "head_dim": "64,128", "page_size": ["1,2", 16]})")
            .size() == 18);
}

TEST_CASE("A bad entry is named with member, value and what is allowed", "[manifest]") {
  const auto values = [](const std::string& page_size) {
    return entry_complaint(fmt::format(R"("mla_decode dtype=bf16 num_heads=16 page_size={}")", page_size));
  };
  for (const char* wrong : {"", ",", "1,", ",1", "1,,2"}) {
    CAPTURE(wrong);
    CHECK(values(wrong) == fmt::format("m.json: specs[1]: mla_decode: page_size={} is not a list of values; allowed: "
                                       "a value, or several of them with commas",
                                       wrong));
  }
  CHECK(values("0,2") == "m.json: specs[1]: mla_decode: page_size=0 is not supported; allowed: 1..65536");
  CHECK(values("1..4") == "m.json: specs[1]: mla_decode: page_size=1..4 is not an integer; allowed: 1..65536");
  CHECK(values("16*2") == "m.json: specs[1]: mla_decode: page_size=16*2 is not an integer; allowed: 1..65536");
  CHECK(values("x") == "m.json: specs[1]: mla_decode: page_size=x is not an integer; allowed: 1..65536");
  CHECK_THAT(values(std::string(100, '1')), Contains("page_size=" + std::string(80, '1') + "... is not a list"));

  CHECK(entry_complaint(R"("gqa dtype=bf16")") ==
        fmt::format("m.json: specs[1]: kernel \"gqa\" is not known; did you mean gqa_decode? Allowed: {}",
                    fmt::join(kernel::names(), ", ")));
  CHECK(entry_complaint(R"("")") == fmt::format("m.json: specs[1]: the line is empty; allowed: {}, then key=value ...",
                                                fmt::join(kernel::names(), " or ")));
  CHECK(entry_complaint(R"("mla_decode pagesize=16")") ==
        "m.json: specs[1]: mla_decode: pagesize=16 is not a member of the spec; did you mean page_size? Allowed: "
        "dtype, kv_dtype, num_heads, "
        "head_dim_ckv, head_dim_kpe, page_size");
  CHECK(entry_complaint(R"("mla_decode page_size=16 page_size=32")") ==
        "m.json: specs[1]: mla_decode: page_size is given twice");
  CHECK(entry_complaint(R"("mla_decode dtype=bf16 page_size=16")") ==
        "m.json: specs[1]: mla_decode: num_heads is missing");
  CHECK(entry_complaint(R"("mla_decode bf16")") ==
        "m.json: specs[1]: mla_decode: \"bf16\" is not of the form key=value");
  CHECK_THAT(entry_complaint(R"("gqa_decode dtype=bf16 num_qo_heads=28,32 num_kv_heads=8 head_dim=64 page_size=1")"),
             Contains("specs[1]: gqa_decode: num_qo_heads=28 is not supported; allowed: 1 to 16 times num_kv_heads=8"));

  CHECK_THAT(entry_complaint("7"), Contains("specs[1]: 7 is not allowed"));
  CHECK_THAT(entry_complaint(R"({"dtype": "bf16"})"), Contains("specs[1]: kernel is missing"));
  CHECK_THAT(entry_complaint(R"({"kernal": "mla_decode"})"),
             Contains("kernal=\"mla_decode\" is not a member; did you mean kernel?"));
  CHECK_THAT(entry_complaint(R"({"kernel": 1})"), Contains("specs[1]: kernel=1 is not allowed"));
  CHECK_THAT(entry_complaint(R"({"kernel": "mla_decode", "page_size": []})"), Contains("page_size=[] is not allowed"));
  CHECK_THAT(entry_complaint(R"({"kernel": "mla_decode", "page_size": 1.5})"),
             Contains("page_size=1.5 is not allowed; allowed: a number, a text, or a list of them"));
  CHECK_THAT(entry_complaint(R"({"kernel": "mla_decode", "page_size": [16, true]})"), Contains("page_size=true"));
  CHECK_THAT(entry_complaint(R"({"kernel": "mla_decode", "page_size": "16 num_heads=16"})"),
             Contains("page_size=16 num_heads=16 is not a list"));
  CHECK_THAT(entry_complaint(R"({"kernel": "mla_decode", "pages": 16})"), Contains("pages=16 is not a member"));
  CHECK_THAT(entry_complaint(R"({"kernel": "mla_decode", "dtype": "\u001b[2J"})"), Contains("dtype=\\x1b[2J"));
}

TEST_CASE("A bad manifest is named with what it must be", "[manifest]") {
  CHECK_THAT(complaint(""), Contains("m.json: ") && Contains("it must be {\"archs\""));
  CHECK_THAT(complaint("[]"), Contains("m.json: [] is not a manifest"));
  CHECK_THAT(complaint("{}"), Contains("m.json: specs is missing"));
  CHECK_THAT(complaint(R"({"spec": []})"), Contains("m.json: spec=[] is not a member; did you mean specs?"));
  CHECK_THAT(complaint(R"({"specs": []} x)"), Contains("parse error"));
  CHECK_THAT(complaint(R"({"specs": {}})"), Contains("m.json: {} is not allowed; allowed: a list of specs"));
  CHECK(complaint(R"({"spec": [], "specs": []})") ==
        "m.json: spec=[] is not a member; did you mean specs? Allowed: archs, specs, source, note");
  CHECK(complaint(R"({"specs": [], "specs": []})") == "m.json: \"specs\" is given twice");
  CHECK(complaint(R"({"specs": [{"kernel": "mla_decode", "dtype": "f16", "dtype": "bf16"}]})") ==
        "m.json: \"dtype\" is given twice");
  CHECK_THAT(complaint(R"({"specs": [[[[[]]]]]})"), Contains("nested too deeply"));
  CHECK_THAT(complaint(std::string(100000, '[')), Contains("nested too deeply"));
  CHECK(complaint(R"({"specs": [], "source": 1})") == "m.json: source: 1 is not allowed; allowed: a text");
  CHECK_THAT(complaint(R"({"specs": [], "archs": "sm_90a"})"), Contains("m.json: archs: \"sm_90a\" is not allowed"));
  CHECK_THAT(complaint(R"({"specs": [], "archs": [90]})"), Contains("m.json: archs: 90 is not allowed"));
  CHECK_THAT(complaint(R"({"specs": [], "archs": ["sm90"]})"), Contains("m.json: archs: ") && Contains("sm90"));
  const auto missing = test::thrown_by([] { read_manifest("/nonexistent/m.json"); });
  REQUIRE(missing);
  CHECK(missing->code == ErrorCode::io);
}

TEST_CASE("A manifest asks for a bounded number of specs", "[manifest]") {
  const auto pages = [](const std::string& values, const std::string& heads) {
    return fmt::format(R"("mla_decode dtype=bf16 num_heads={} page_size={}")", heads, values);
  };
  const auto up_to = [](int last) {
    std::string values = "1";
    for (int value = 2; value <= last; ++value) values += fmt::format(",{}", value);
    return values;
  };
  CHECK(parse_manifest(of_entries(pages(up_to(10000), "16")), "m").specs.size() == kMaxManifestSpecs);
  CHECK_THAT(complaint(of_entries(pages(up_to(10001), "16"))), Contains("has more than 10000 values"));
  CHECK(complaint(of_entries(pages(up_to(101), up_to(100)))) ==
        "m.json: specs[0]: mla_decode: with 101 values of page_size the manifest asks for 10100 specs or more; "
        "allowed: at most 10000");
  // Equal ones count too: what is bounded is the work.
  CHECK_THAT(complaint(of_entries(pages(up_to(6000), "16") + "," + pages(up_to(6000), "16"))),
             Contains("m.json: specs[1]: ") && Contains("12000 specs"));
  CHECK(complaint(of_entries("") + std::string(kMaxManifestBytes, ' ')) ==
        fmt::format("m.json: it has {} bytes; allowed: at most {}", kMaxManifestBytes + 13, kMaxManifestBytes));
  std::string archs;
  for (int i = 0; i < 65; ++i) archs += fmt::format("{}\"sm_{}\"", i == 0 ? "" : ",", 80 + i);
  CHECK(complaint(fmt::format(R"({{"specs": [], "archs": [{}]}})", archs)) ==
        "m.json: archs: there are 65 of them; allowed: at most 64");
}

}  // namespace
}  // namespace librt
