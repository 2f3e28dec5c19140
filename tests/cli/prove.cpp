// librt prove.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/cli/process.hpp"
#include "tests/support/kernels_copy.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using librt::test::Finished;
using librt::test::Tool;

const std::vector<std::string> kSpec = {
    "prove",       "gqa_decode", "dtype=bf16", "num_qo_heads=4", "num_kv_heads=2", "head_dim=64",
    "page_size=4", "--batches",  "4",          "--arch"};

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("cli prove: a shipped kernel is proven, and PTX that is the same is run once", "[cli]") {
  const Finished finished = Tool()(with(kSpec, {"sm_80,sm_90a", "--json"}));
  INFO(finished.err << finished.out);
  REQUIRE(finished.exit_code == 0);
  const auto json = finished.json();
  CHECK(json["seconds"].get<double>() > 0);
  REQUIRE(json["results"].size() == 2);
  for (const auto& result : json["results"]) {
    CHECK(result["status"] == "proven");
    CHECK(result["findings"].empty());
    CHECK(result["spec"].get<std::string>().find("gqa_decode dtype=bf16") == 0);
  }
  CHECK(json["results"][0]["arch"] == "sm_80");
  CHECK(json["results"][0]["runs"].get<int>() > 4);
  CHECK(json["results"][1]["arch"] == "sm_90a");
  CHECK(json["results"][1]["same_ptx_as"] == "sm_80");

  const Finished words = Tool()(with(kSpec, {"sm_80"}));
  CHECK(words.exit_code == 0);
  CHECK_THAT(words.out, Catch::Contains("1 of 1 proven") && Catch::Contains("Trusted: ptxas"));
}

TEST_CASE("cli prove: a kernel that multiplies padding is refuted down to the element of V", "[cli]") {
  const librt::test::TempDir directory;
  const std::string kernels = directory.path() + "/kernels";
  librt::test::write_kernels(kernels);
  std::ifstream in(kernels + "/gqa_decode/gqa_decode.cuh");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::string zeroing = "copy16_or_zero(v_tile(stage) + to, v_from, extent.copy_bytes(position));";
  REQUIRE(text.find(zeroing) != std::string::npos);
  text.replace(text.find(zeroing), zeroing.size(), "copy16(v_tile(stage) + to, v_from);");
  std::ofstream(kernels + "/gqa_decode/gqa_decode.cuh") << text;

  const Finished finished = Tool()(with(kSpec, {"sm_80", "--json"}), {{"LIBRT_KERNELS_DIR", kernels}});
  INFO(finished.err << finished.out);
  REQUIRE(finished.exit_code == 1);
  const auto json = finished.json();
  REQUIRE(json["results"].size() == 1);
  CHECK(json["results"][0]["status"] == "refuted");
  REQUIRE(!json["results"][0]["findings"].empty());
  const auto& finding = json["results"][0]["findings"][0];
  CHECK(finding["kind"] == "an output");
  CHECK(finding["kernel"] == "librt_gqa_decode");
  CHECK_THAT(finding["source"].get<std::string>(), Catch::StartsWith("kernels/gqa_decode/gqa_decode.cuh:"));
  CHECK_THAT(finding["instruction"].get<std::string>(), Catch::StartsWith("st.global"));
  CHECK_THAT(finding["origin"].get<std::string>(), Catch::StartsWith("v_pages: page "));
  CHECK_THAT(finding["what"].get<std::string>(), Catch::Contains("lane "));
  CHECK_THAT(finding["batch"].get<std::string>(), Catch::Contains("kv_lens ["));
}

TEST_CASE("cli prove, run: the bound of a launch on the virtual device is the one that was set", "[cli]") {
  const Tool tool;
  const std::string batch = tool.file("batch.safetensors");
  REQUIRE(tool({"run", "--example", batch}).exit_code == 0);
  for (const std::vector<std::string>& words :
       {with(kSpec, {"sm_80"}), {"run", batch, "-o", tool.file("out.safetensors"), "--device", "virtual"}}) {
    const Finished finished = tool(words, {{"LIBRT_VIRTUAL_INSTRUCTION_LIMIT", "64"}});
    CHECK(finished.exit_code == 1);
    CHECK_THAT(finished.out + finished.err, Catch::Contains("more than 64 warp instructions"));
  }
}

TEST_CASE("cli prove: what it compiles for itself is recorded as a user would ask for it", "[cli]") {
  const Tool tool;
  const std::string asked = tool.file("asked.json");
  REQUIRE(tool(with(kSpec, {"sm_80"}), {{"LIBRT_RECORD", asked}}).exit_code == 0);
  std::ifstream file(asked);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  CHECK_THAT(text, Catch::Contains("gqa_decode ") && !Catch::Contains("merge_states"));
}

TEST_CASE("cli prove: what it cannot read is a usage error or names the list", "[cli]") {
  CHECK(Tool()({"prove", "gqa_decode", "head_dim=64"}).exit_code == 2);
  CHECK(Tool()({"prove", "--arch", "sm_12345x"}).exit_code == 2);
  const librt::test::TempDir directory;
  const std::string list = directory.path() + "/list.json";
  std::ofstream(list) << R"({"archs": ["sm_80"], "specs": ["gqa_decode dtype=bf16"]})";
  const Finished finished = Tool()({"prove", "--matrix", list});
  CHECK(finished.exit_code == 1);
  CHECK_THAT(finished.err, Catch::Contains("list.json") && Catch::Contains("num_qo_heads"));
}
