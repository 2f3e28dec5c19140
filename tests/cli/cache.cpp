// librt cache: looking, checking, clearing.
#include <catch2/catch.hpp>

#include <filesystem>

#include "tests/cli/process.hpp"

using librt::test::Finished;
using librt::test::Tool;

namespace {

void compile(const Tool& tool, const std::string& head_dim) {
  REQUIRE(tool({"compile", "gqa_decode", "dtype=f16", "num_qo_heads=8", "num_kv_heads=2", "head_dim=" + head_dim,
                "page_size=16", "--arch", "compute_80"})
              .exit_code == 0);
}

}  // namespace

TEST_CASE("cli cache: a cache that is not there yet is empty and sound", "[cli]") {
  const Tool tool;
  const Finished path = tool({"cache", "path"});
  CHECK(path.exit_code == 0);
  CHECK(path.out == tool.cache() + "\n");
  CHECK_THAT(path.err, Catch::Contains("LIBRT_CACHE_DIR"));
  const Finished list = tool({"cache", "ls"});
  CHECK(list.exit_code == 0);
  CHECK(list.out.empty());
  CHECK(tool({"cache", "verify"}).exit_code == 0);
  CHECK(tool({"cache", "clear", "--json"}).json()["removed"] == 0);
  CHECK(tool({"cache", "show", "abcd"}).exit_code == 1);
  CHECK_FALSE(std::filesystem::exists(tool.cache()));
}

TEST_CASE("cli cache: where there is no directory, the tool says what would help", "[cli]") {
  const Finished finished = Tool()({"cache", "ls"}, {{"LIBRT_CACHE_DIR", ""}, {"XDG_CACHE_HOME", ""}, {"HOME", ""}});
  CHECK(finished.exit_code == 3);
  CHECK_THAT(finished.err, Catch::Contains("--dir"));
}

TEST_CASE("cli cache: a --dir that holds no cache is named in every verb", "[cli]") {
  const Tool tool;
  const std::string foreign = tool.file("foreign"), file = tool.file("file");
  std::filesystem::create_directory(foreign);
  librt::test::write_text(foreign + "/something", "else");
  librt::test::write_text(file, "a file");
  const std::vector<std::pair<std::string, std::string>> wrong{
      {tool.file("none"), "there is no such directory"}, {foreign, "no cache of librt"}, {file, "not a directory"}};
  for (const auto& [directory, said] : wrong) {
    for (std::vector<std::string> verb :
         {std::vector<std::string>{"path"},
          {"ls"},
          {"show", "abcd"},
          {"why", "mla_decode", "dtype=bf16", "num_heads=16", "page_size=64", "--arch", "sm_80"},
          {"stats"},
          {"verify"},
          {"extract", "abcd", "-o", tool.file("x")},
          {"gc"},
          {"rm", "abcd"},
          {"clear"}}) {
      CAPTURE(directory, verb);
      verb.insert(verb.begin(), "cache");
      verb.insert(verb.end(), {"--dir", directory});
      const Finished finished = tool(verb);
      CHECK(finished.exit_code == 2);
      CHECK(finished.out.empty());
      CHECK_THAT(finished.err, Catch::Contains("--dir=" + directory + ": " + said));
    }
  }
  CHECK(std::filesystem::exists(foreign + "/something"));
}

TEST_CASE("cli cache: entries are listed, explained, checked and cleared", "[cli]") {
  const Tool tool;
  compile(tool, "64");
  compile(tool, "80");

  const Finished list = tool({"cache", "ls"});
  CHECK(list.exit_code == 0);
  for (const char* const column : {"KEY", "KERNEL", "SPEC", "TARGET", "SIZE", "COMPILE", "LAST USED", "NVRTC"}) {
    CHECK_THAT(list.out, Catch::Contains(column));
  }
  CHECK_THAT(list.out, Catch::Contains("head_dim=64") && Catch::Contains("head_dim=80"));
  CHECK_THAT(list.out, Catch::Contains("compute_80"));
  CHECK_THAT(list.err, Catch::Contains("2 entries"));
  const auto entries = tool({"cache", "ls", "--json"}).json()["entries"];
  REQUIRE(entries.size() == 2);
  CHECK(entries[0]["target"] == "compute_80");

  // --dir beats the environment.
  CHECK(tool({"cache", "ls", "--json", "--dir", tool.cache()}, {{"LIBRT_CACHE_DIR", tool.file("other")}})
            .json()["entries"] == entries);

  const std::string key = entries[0]["key"];
  const auto detail = tool({"cache", "show", key.substr(0, 12), "--json"}).json();
  CHECK(detail["key"] == key);
  CHECK(detail["key_document"]["target"] == "compute_80");
  CHECK(detail["ptx_bytes"].get<int>() > 1000);
  CHECK(detail["resources"].is_null());
  CHECK_THAT(detail["source"].get<std::string>(), Catch::Contains("gqa_decode.cuh"));
  const Finished words = tool({"cache", "show", key.substr(0, 8)});
  CHECK(words.exit_code == 0);
  CHECK_THAT(words.out, Catch::Contains(key) && Catch::Contains("compiler") && Catch::Contains("device/mask.cuh"));
  CHECK(tool({"cache", "show", "zzzz"}).exit_code == 2);

  CHECK(tool({"cache", "verify", "--json"}).json()["ok"] == 2);
  CHECK(tool({"cache", "verify"}).exit_code == 0);

  const std::string path = entries[0]["path"];
  std::string bytes = librt::test::read_text(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  librt::test::write_text(path, bytes);
  const Finished damaged = tool({"cache", "verify"});
  CHECK(damaged.exit_code == 1);
  CHECK_THAT(damaged.out, Catch::Contains(path));
  const auto verdict = tool({"cache", "verify", "--json"}).json();
  CHECK(verdict["ok"] == 1);
  CHECK(verdict["corrupt"] == 1);
  CHECK(tool({"cache", "ls", "--json"}).json()["entries"].size() == 1);

  CHECK(tool({"cache", "clear"}).exit_code == 0);
  CHECK(tool({"cache", "ls", "--json"}).json()["entries"].empty());
  CHECK(tool({"cache", "verify", "--json"}).json()["files"].empty());
}

TEST_CASE("cli cache: show explains the resources of a cubin", "[cli]") {
  const Tool tool;
  const auto compiled = tool({"compile", "gqa_decode", "dtype=bf16", "num_qo_heads=8", "num_kv_heads=2", "head_dim=64",
                              "page_size=16", "--arch", "sm_80", "--json"})
                            .json();
  const std::string key = compiled["key"];
  const auto detail = tool({"cache", "show", key, "--json"}).json();
  CHECK(detail["resources"]["registers"] == compiled["registers"]);
  CHECK(detail["resources"]["max_threads"] == compiled["block_threads"]);
  CHECK(detail["cubin_bytes"] == compiled["cubin_bytes"]);
  const Finished words = tool({"cache", "show", key});
  CHECK_THAT(words.out, Catch::Contains("registers") && Catch::Contains("sm_80"));
}
