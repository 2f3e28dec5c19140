// librt cache: explaining, counting, repairing, collecting, taking out; and the modes, from the environment.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/cli/process.hpp"
#include "tests/support/kernels_copy.hpp"
#include "tests/support/temp_dir.hpp"

using librt::test::Finished;
using librt::test::TempDir;
using librt::test::Tool;
using librt::test::Variables;
using librt::test::write_kernels;

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kSpec{"gqa_decode",  "dtype=f16",    "num_qo_heads=8", "num_kv_heads=2",
                                     "head_dim=64", "page_size=16", "--arch",         "compute_80"};

std::vector<std::string> words(std::vector<std::string> first, const std::vector<std::string>& rest = kSpec) {
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

std::vector<std::string> with_head_dim(const std::string& head_dim) {
  std::vector<std::string> spec = kSpec;
  spec[4] = "head_dim=" + head_dim;
  return spec;
}

void set_age(const std::string& path, std::int64_t seconds) {
  const timespec times[2] = {{std::time(nullptr) - seconds, 0}, {std::time(nullptr) - seconds, 0}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("cli cache: why names what differs from the nearest entry", "[cli]") {
  const Tool tool;
  const auto empty = tool(words({"cache", "why", "--json"})).json();
  CHECK(empty["cached"] == false);
  CHECK(empty["nearest"].is_null());
  CHECK_FALSE(fs::exists(tool.cache()));

  REQUIRE(tool(words({"compile"})).exit_code == 0);
  const auto hit = tool(words({"cache", "why", "--json"})).json();
  CHECK(hit["cached"] == true);
  CHECK(hit["differences"].empty());
  CHECK(tool(words({"cache", "why"})).out.starts_with("hit"));

  const auto miss = tool(words({"cache", "why", "--json"}, with_head_dim("128"))).json();
  CHECK(miss["cached"] == false);
  CHECK(miss["nearest"] == hit["key"]);
  std::map<std::string, nlohmann::json> fields;
  for (const auto& each : miss["differences"]) fields[each["field"]] = each;
  REQUIRE(fields.count("spec.head_dim") == 1);
  CHECK(fields["spec.head_dim"]["wanted"] == "128");
  CHECK(fields["spec.head_dim"]["found"] == "64");
  CHECK(fields.count("target") == 0);
  const Finished text = tool(words({"cache", "why"}, with_head_dim("128")));
  CHECK(text.exit_code == 0);
  CHECK_THAT(text.out, Catch::Contains("spec.head_dim") && Catch::Contains("WANTED"));
  CHECK(tool({"cache", "why", "gqa_decode", "head_dim=72", "--arch", "sm_80"}).exit_code == 2);
}

TEST_CASE("cli cache: stats are the sum over the processes", "[cli]") {
  const Tool tool;
  CHECK(tool({"cache", "stats", "--json"}).json()["lookups"] == 0);
  for (int i = 0; i < 3; ++i) REQUIRE(tool(words({"compile"})).exit_code == 0);
  const auto stats = tool({"cache", "stats", "--json"}).json();
  for (const char* const name :
       {"lookups", "memory_hits", "disk_hits", "compiled", "failed", "corrupt", "publish_failed"}) {
    CAPTURE(name);
    CHECK(stats[name].is_number_integer());
  }
  CHECK(stats["lookups"] == 3);
  CHECK(stats["compiled"] == 1);
  CHECK(stats["disk_hits"] == 2);
  CHECK(stats["entries"] == 1);
  CHECK_THAT(tool({"cache", "stats"}).out, Catch::Contains("from disk") && Catch::Contains("66.7 %"));
}

TEST_CASE("cli cache: verify --repair removes what is damaged and nothing else", "[cli]") {
  const Tool tool;
  REQUIRE(tool(words({"compile"})).exit_code == 0);
  REQUIRE(tool(words({"compile"}, with_head_dim("80"))).exit_code == 0);
  const auto entries = tool({"cache", "ls", "--json"}).json()["entries"];
  const std::string path = entries[0]["path"];
  librt::test::write_text(path, librt::test::read_text(path).substr(0, 300));
  CHECK(tool({"cache", "verify"}).exit_code == 1);
  const auto repaired = tool({"cache", "verify", "--repair", "--json"}).json();
  CHECK(repaired["repaired"] == 1);
  CHECK(repaired["ok"] == 1);
  CHECK(repaired["corrupt"] == 0);
  CHECK_FALSE(fs::exists(path));
  CHECK(tool({"cache", "verify"}).exit_code == 0);
}

TEST_CASE("cli cache: gc removes the least recently used", "[cli]") {
  const Tool tool;
  REQUIRE(tool(words({"compile"})).exit_code == 0);
  REQUIRE(tool(words({"compile"}, with_head_dim("80"))).exit_code == 0);
  const auto entries = tool({"cache", "ls", "--json"}).json()["entries"];
  const std::string old_key = entries[0]["key"];
  set_age(entries[0]["path"], 3 * 86400);

  const auto nothing = tool({"cache", "gc", "--json"}).json();
  CHECK(nothing["entries"] == 2);
  CHECK(nothing["removed_entries"] == 0);
  const auto dry = tool({"cache", "gc", "--older-than", "2d", "--dry-run", "--json"}).json();
  CHECK(dry["removed_keys"] == nlohmann::json{old_key});
  CHECK(tool({"cache", "gc", "--older-than", "2d", "--dry-run"}).out == old_key + "\n");
  CHECK(tool({"cache", "ls", "--json"}).json()["entries"].size() == 2);
  const std::string size = std::to_string(nothing["bytes"].get<int>() - 1);
  const Finished collected = tool({"cache", "gc", "--max-size", size});
  CHECK(collected.exit_code == 0);
  CHECK_THAT(collected.err, Catch::Contains("removed 1 entry"));
  const auto left = tool({"cache", "ls", "--json"}).json()["entries"];
  REQUIRE(left.size() == 1);
  CHECK(left[0]["key"] != old_key);
  for (const auto& [option, value] : Variables{{"--max-size", "big"}, {"--older-than", "3"}, {"--older-than", "-1d"}}) {
    CHECK(tool({"cache", "gc", option, value}).exit_code == 2);
  }
  CHECK(tool({"cache", "gc", "--max-size", "1"}).exit_code == 0);
  CHECK(tool({"cache", "ls", "--json"}).json()["entries"].empty());
}

TEST_CASE("cli cache: the bound of the environment holds for a compile", "[cli]") {
  const Tool tool;
  REQUIRE(tool(words({"compile"})).exit_code == 0);
  const std::string size = std::to_string(tool({"cache", "stats", "--json"}).json()["bytes"].get<int>() * 3 / 2);
  REQUIRE(tool(words({"compile"}, with_head_dim("80")), {{"LIBRT_CACHE_MAX_SIZE", size}}).exit_code == 0);
  const auto stats = tool({"cache", "stats", "--json"}).json();
  CHECK(stats["entries"] == 1);
  CHECK(stats["evicted"] == 1);
}

TEST_CASE("cli cache: extract writes what compile would, rm removes one entry", "[cli]") {
  const Tool tool;
  std::vector<std::string> cubin = kSpec;
  cubin.back() = "sm_80";
  const std::string direct = tool.file("direct");
  const std::string taken = tool.file("taken");
  std::vector<std::string> compile = words({"compile", "--json", "-o", direct}, cubin);
  const std::string key = tool(compile).json()["key"];
  const auto extracted = tool({"cache", "extract", key.substr(0, 10), "-o", taken, "--json"}).json();
  CHECK(extracted["kind"] == "cubin");
  CHECK(extracted["key"] == key);
  CHECK(librt::test::read_text(taken) == librt::test::read_text(direct));
  CHECK(tool({"cache", "extract", key, "-o", taken, "--ptx"}).exit_code == 0);
  CHECK_THAT(librt::test::read_text(taken), Catch::Contains(".entry librt_gqa_decode"));
  CHECK(tool({"cache", "extract", "0000", "-o", taken}).exit_code == 1);

  const std::string path = tool({"cache", "ls", "--json"}).json()["entries"][0]["path"];
  CHECK(tool({"cache", "rm", key.substr(0, 10), "--json"}).json()["removed"] == path);
  CHECK_FALSE(fs::exists(path));
  CHECK(tool({"cache", "rm", key}).exit_code == 1);
}

TEST_CASE("cli cache: a filled directory serves, moved and read-only, a process in mode only", "[cli]") {
  const Tool tool;
  REQUIRE(tool(words({"compile"})).exit_code == 0);
  const std::string moved = tool.file("moved");
  fs::rename(tool.cache(), moved);
  const Variables only{{"LIBRT_CACHE_MODE", "only"}, {"LIBRT_CACHE_RO", "/nonexistent:" + moved}};
  CHECK(tool(words({"compile", "--json"}), only).json()["origin"] == "disk");
  const Finished missing = tool(words({"compile", "--json"}, with_head_dim("128")), only);
  CHECK(missing.exit_code == 3);
  CHECK(missing.json()["error"]["code"] == "not_cached");
  CHECK_THAT(missing.json()["error"]["message"].get<std::string>(),
             Catch::Contains("spec.head_dim (wanted 128, there 64)"));
  CHECK_FALSE(fs::exists(tool.cache()));

  const Variables reading{{"LIBRT_CACHE_MODE", "ro"}, {"LIBRT_CACHE_DIR", moved}};
  CHECK(tool(words({"compile", "--json"}), reading).json()["origin"] == "disk");
  CHECK(tool(words({"compile", "--json"}, with_head_dim("128")), reading).json()["origin"] == "compiled");
  CHECK(tool({"cache", "ls", "--json", "--dir", moved}).json()["entries"].size() == 1);
}

TEST_CASE("cli cache: variables that are wrong or unknown are named", "[cli]") {
  const Tool tool;
  for (const auto& [name, value] : Variables{{"LIBRT_CACHE_MODE", "rx"},
                                             {"LIBRT_CACHE_MAX_SIZE", "12Q"},
                                             {"LIBRT_CACHE_TRUST", "all"},
                                             {"LIBRT_CACHE_FSYNC", "yes"},
                                             {"LIBRT_LOCK_TIMEOUT_MS", "-1"}}) {
    const Finished finished = tool(words({"compile"}), {{name, value}});
    CHECK(finished.exit_code == 2);
    CHECK_THAT(finished.err, Catch::Contains(name + "=" + value));
  }
  const Finished misspelt = tool(words({"compile"}), {{"LIBRT_CACHEDIR", "/x"}});
  CHECK(misspelt.exit_code == 0);
  CHECK_THAT(misspelt.err, Catch::Contains("LIBRT_CACHEDIR is not one that librt knows"));
  const TempDir directory;
  write_kernels(directory / "kernels");
  const Finished kernels = tool(words({"compile"}), {{"LIBRT_KERNELS_DIR", directory / "kernels"}});
  CHECK(kernels.exit_code == 0);
  CHECK_THAT(kernels.err, Catch::Contains("LIBRT_KERNELS_DIR=" + directory / "kernels"));
  std::filesystem::permissions(directory / "kernels/work.h", std::filesystem::perms::others_write,
                               std::filesystem::perm_options::add);
  const Finished distrusted = tool(words({"compile"}), {{"LIBRT_KERNELS_DIR", directory / "kernels"}});
  CHECK(distrusted.exit_code != 0);
  CHECK_THAT(distrusted.err, Catch::Contains("work.h can be written by others"));
}
