// librt demo and librt bench.
#include <librt/spec.hpp>

#include <catch2/catch.hpp>

#include "src/jit/sources.hpp"
#include "tests/cli/process.hpp"
#include "tools/librt/demo_edits.hpp"

using librt::test::Finished;
using librt::test::Tool;

TEST_CASE("cli demo: each edit fits the kernel's text exactly once", "[cli]") {
  for (const librt::Spec& spec : {librt::Spec{librt::GqaDecodeSpec{}}, librt::Spec{librt::MlaDecodeSpec{}}}) {
    CAPTURE(librt::kernel_name(spec));
    const librt::SourceEdit edit = librt::tool::without_v_zeroing(spec);
    const auto sources = librt::jit::KernelSources::load("", {edit});
    for (const auto& file : sources.files()) {
      if (file.name == edit.file) CHECK_THAT(file.text, Catch::Contains(edit.replace) && !Catch::Contains(edit.find));
    }
  }
}

TEST_CASE("cli demo: the promise is kept, and without the zeroing of V it would not be", "[cli]") {
  const Tool tool;
  const Finished finished = tool({"demo", "--json"});
  INFO(finished.err);
  REQUIRE(finished.exit_code == 0);
  const auto json = finished.json();
  CHECK(json["promise_kept"] == true);
  CHECK(json["page_size"] == 4);
  CHECK(json["tokens"] == 13);
  REQUIRE(json["kernels"].size() == 2);
  for (const auto& kernel : json["kernels"]) {
    CAPTURE(kernel);
    CHECK(kernel["nan_with_clean_padding"] == 0);
    CHECK(kernel["nan_with_nan_padding"] == 0);
    CHECK(kernel["bit_identical"] == true);
    CHECK(kernel["max_error_nan_padding"].get<double>() < 2e-2);
    CHECK(kernel["max_error_nan_padding"].get<double>() > 0);
    CHECK(kernel["edited_nan_with_clean_padding"] == 0);
    CHECK(kernel["edited_nan_with_nan_padding"].get<int>() > 0);
  }
  // A pool of 8 pages of 4 slots, of which 13 hold a token.
  CHECK(json["kernels"][0]["padding_elements"] == 19 * (512 + 64));
  CHECK(json["kernels"][1]["padding_elements"] == 19 * 2 * 8 * 128);

  const auto entries = tool({"cache", "ls", "--json"}).json()["entries"];
  REQUIRE(entries.size() == 2);
  for (const auto& entry : entries) CHECK(entry["target"] == "sm_90a");

  const Finished words = tool({"demo"});
  CHECK(words.exit_code == 0);
  CHECK_THAT(words.out, Catch::Contains("FlashInfer #941") &&
                            Catch::Contains("bit-identical to those with zeros: yes") && Catch::Contains("nan") &&
                            Catch::Contains("from the cache (disk)"));
}

TEST_CASE("cli bench: every metric is measured", "[cli]") {
  const Finished finished = Tool()({"bench", "--json"});
  INFO(finished.err);
  REQUIRE(finished.exit_code == 0);
  std::map<std::string, nlohmann::json> metrics;
  const auto json = finished.json();
  for (const auto& metric : json["metrics"]) metrics[metric["name"]] = metric;
  const std::map<std::string, double> targets{{"compile.overhead_ms", 20},
                                              {"cache.disk_hit_ms", 0.3},
                                              {"cache.memory_hit_ns", 100},
                                              {"cache.prewarm_speedup", 1.7},
                                              {"virtual.warp_instructions_per_s", 10e6},
                                              {"virtual.instrumented_ratio", 4}};
  for (const auto& [name, target] : targets) {
    CAPTURE(name);
    REQUIRE(metrics.contains(name));
    CHECK(metrics[name]["target"] == target);
    CHECK(metrics[name]["value"].get<double>() > 0);
    CHECK_FALSE(metrics[name]["unit"].get<std::string>().empty());
  }
}
