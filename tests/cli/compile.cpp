// librt compile: files, hits, and what a hit does not open.
#include <catch2/catch.hpp>

#include <algorithm>

#include "src/jit/binary_info.hpp"
#include "tests/cli/process.hpp"

using librt::test::Finished;
using librt::test::read_text;
using librt::test::Tool;

namespace {

std::vector<std::string> mla(const std::string& arch, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words{"compile", "mla_decode", "num_heads=16", "page_size=64", "dtype=bf16", "--arch", arch};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::size_t count_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("cli compile: a cubin for the architecture asked for; the second time from the cache", "[cli]") {
  const Tool tool;
  const std::string path = tool.file("x.cubin");
  const Finished first = tool(mla("sm_90a", {"-o", path, "--json"}));
  REQUIRE(first.exit_code == 0);
  CHECK(first.json()["origin"] == "compiled");
  CHECK(first.json()["target"] == "sm_90a");
  CHECK(first.json()["registers"].get<int>() > 0);
  CHECK(first.json()["stack_bytes"] == 0);
  const std::string cubin = read_text(path);
  REQUIRE(cubin.size() > 64);
  CHECK(cubin.substr(0, 4) ==
        "\x7f"
        "ELF");
  CHECK(static_cast<unsigned char>(cubin[18]) == 190);
  CHECK(cubin[19] == 0);
  CHECK(librt::jit::read_cubin(std::as_bytes(std::span(cubin))).sm == 90);

  const Finished second =
      tool(mla("sm_90a", {"-o", path, "--json"}), {{"LD_DEBUG", "files"}, {"LD_DEBUG_OUTPUT", tool.file("loader")}});
  REQUIRE(second.exit_code == 0);
  CHECK(second.json()["origin"] == "disk");
  CHECK(second.json()["key"] == first.json()["key"]);
  CHECK(read_text(path) == cubin);
  std::string loader;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(path).parent_path())) {
    if (entry.path().filename().string().starts_with("loader.")) loader += read_text(entry.path());
  }
  CHECK_THAT(loader, Catch::Contains("libc.so.6"));
  CHECK_THAT(loader, !Catch::Contains("libnvrtc"));

  const Finished words = tool(mla("sm_90a"));
  CHECK(words.exit_code == 0);
  CHECK_THAT(words.out, Catch::Contains("disk hit") && Catch::Contains("registers"));
}

TEST_CASE("cli compile: the order of the members does not matter", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  const auto first = tool(mla("compute_80", {"--json"})).json();
  const auto second = tool({"compile", "--json", "--arch", "compute_80", "mla_decode", "dtype=bf16", "page_size=64",
                            "head_dim_kpe=64", "num_heads=16", "kv_dtype=bf16", "head_dim_ckv=512"})
                          .json();
  CHECK(first["key"] == second["key"]);
  CHECK(second["origin"] == "disk");
}

TEST_CASE("cli compile: compute_XX gives PTX", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  const std::string path = tool.file("x.ptx");
  const Finished finished = tool(mla("compute_80", {"-o", path, "--json"}));
  REQUIRE(finished.exit_code == 0);
  CHECK(finished.json()["cubin_bytes"] == 0);
  CHECK(librt::jit::read_ptx(read_text(path)).target == "sm_80");
  CHECK_FALSE(finished.json().contains("registers"));
}

TEST_CASE("cli compile: --ptx and --source", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  const Finished ptx = tool(mla("compute_80", {"--ptx"}));
  CHECK(ptx.exit_code == 0);
  CHECK(librt::jit::read_ptx(ptx.out).entries.size() == 1);
  CHECK_THAT(ptx.err, Catch::Contains("key"));

  const std::string in_o = tool.file("o.ptx");
  CHECK(tool(mla("compute_80", {"--ptx", "-o", in_o})).exit_code == 0);
  CHECK(read_text(in_o) == ptx.out);
  const std::string besides = tool.file("besides.ptx");
  CHECK(tool(mla("compute_80", {"--ptx=" + besides})).exit_code == 0);
  CHECK(read_text(besides) == ptx.out);

  const Tool fresh;
  const Finished source = fresh(mla("sm_90a", {"--source"}), {{"LIBRT_NVRTC", "/nonexistent"}});
  CHECK(source.exit_code == 0);
  CHECK_THAT(source.out, Catch::Contains("#include \"mla_decode/mla_decode.cuh\"") && Catch::Contains("extern \"C\""));
  CHECK(count_lines(source.out) <= 10);
  CHECK(fresh(mla("sm_90a", {"--source", "--json"})).json()["source"] == source.out);
  CHECK(fresh({"cache", "ls", "--json"}).json()["entries"].empty());
}

TEST_CASE("cli compile: an output that cannot be written is usage, and named", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  const Finished finished = tool(mla("compute_80", {"-o", "/nonexistent/x.ptx"}));
  CHECK(finished.exit_code == 2);
  CHECK_THAT(finished.err, Catch::Contains("/nonexistent/x.ptx"));
}

TEST_CASE("cli compile: an architecture that this NVRTC does not know is what this machine cannot", "[cli]") {
  for (const char* const arch : {"sm_199", "compute_199", "sm_90f"}) {
    const Finished finished = librt::test::shared_tool()(mla(arch));
    CHECK(finished.exit_code == 3);
    CHECK_THAT(finished.err, Catch::Contains(arch));
  }
  CHECK_THAT(librt::test::shared_tool()(mla("sm_199")).err, Catch::Contains("a newer NVRTC may know it"));
}
