// librt cache prewarm: what it makes, resumes, refuses and reports; and LIBRT_RECORD, which tells it what to make.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "tests/cli/process.hpp"
#include "tests/support/kernel_folders.hpp"

using Catch::Contains;
using librt::test::Finished;
using librt::test::Tool;
using librt::test::Variables;
using librt::test::write_text;

namespace {

namespace fs = std::filesystem;

const std::string kSpec = "gqa_decode dtype=f16 num_qo_heads=8 num_kv_heads=2 head_dim=64 page_size=16";

/// Two decode kernels and their merge.
const std::string kManifest =
    R"({"archs": ["compute_80"], "specs": ["gqa_decode dtype=f16 num_qo_heads=8 num_kv_heads=2 head_dim=64 page_size=16,32"]})";

std::size_t entries_of(const Tool& tool) {
  return tool({"cache", "ls", "--json"}).json()["entries"].size();
}

bool any_entry(const std::string& directory) {
  std::error_code error;
  for (fs::recursive_directory_iterator each(directory, error), end; !error && each != end; each.increment(error)) {
    if (each->path().extension() == ".rtk") return true;
  }
  return false;
}

std::vector<std::string> words(const std::string& spec) {
  std::vector<std::string> list;
  std::istringstream stream(spec);
  for (std::string word; stream >> word;) list.push_back(word);
  return list;
}

void permit(const std::string& directory, fs::perms of_directories, fs::perms of_files) {
  // From the leaves on: what may not be written to cannot be walked into by everybody.
  std::vector<fs::path> all{directory};
  for (const auto& each : fs::recursive_directory_iterator(directory)) all.push_back(each.path());
  for (auto each = all.rbegin(); each != all.rend(); ++each) {
    fs::permissions(*each, fs::is_directory(*each) ? of_directories : of_files);
  }
}

}  // namespace

TEST_CASE("cli prewarm: fills a cache, and a second one finds all there", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json");
  write_text(manifest, kManifest);
  const Finished first = tool({"cache", "prewarm", manifest, "-j", "2", "--json"});
  CHECK(first.exit_code == 0);
  const auto report = first.json();
  CHECK(report["path"] == tool.cache());
  CHECK(report["archs"] == nlohmann::json{"compute_80"});
  CHECK(report["requested"] == 3);
  CHECK(report["compiled"] == 3);
  CHECK(report["already_there"] == 0);
  CHECK(report["failed"].empty());
  CHECK(report["evicted"] == 0);
  CHECK(report["seconds"].get<double>() > 0);
  CHECK(entries_of(tool) == 3);

  // A new spec that shares its programs with one that is there compiles nothing.
  write_text(manifest, R"({"specs": [{"kernel": "gqa_decode", "dtype": "f16", "num_qo_heads": 16, "num_kv_heads": 1,
                           "head_dim": 64, "page_size": "16,32"}]})");
  const Finished again = tool({"cache", "prewarm", manifest, "--arch", "compute_80"});
  CHECK(again.exit_code == 0);
  CHECK_THAT(again.out, Contains("already there"));
  CHECK_THAT(again.err, Contains("3 of 3 entries for compute_80"));
  CHECK(tool({"cache", "stats", "--json"}).json()["compiled"] == 3);
}

TEST_CASE("cli prewarm: --arch overrides the manifest's, with commas and repeated", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json");
  write_text(manifest, kManifest);
  const auto report = tool({"cache", "prewarm", "--arch", "compute_90,compute_100", "--arch", "sm_90", manifest,
                            "--dir", tool.file("other"), "--json"});
  CHECK(report.exit_code == 0);
  CHECK(report.json()["archs"] == nlohmann::json{"compute_90", "compute_100", "sm_90", "sm_90a"});
  CHECK_THAT(report.err, Contains("sm_90a is made too"));
  CHECK(report.json()["compiled"] == 12);
  CHECK(report.json()["path"] == tool.file("other"));
  CHECK_FALSE(fs::exists(tool.cache()));
}

TEST_CASE("cli prewarm: for sm_90a in one directory, it serves moved and read-only in mode only", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json"), moved = tool.file("moved");
  write_text(manifest, kManifest);
  REQUIRE(tool({"cache", "prewarm", manifest, "--arch", "sm_90a"}).exit_code == 0);
  fs::rename(tool.cache(), moved);
  permit(moved, fs::perms{0555}, fs::perms{0444});
  const auto before = fs::last_write_time(moved + "/v1");
  for (const Variables& only : {Variables{{"LIBRT_CACHE_MODE", "only"}, {"LIBRT_CACHE_DIR", moved}},
                                Variables{{"LIBRT_CACHE_MODE", "only"}, {"LIBRT_CACHE_RO", moved}}}) {
    std::vector<std::string> compile = words("compile " + kSpec + " --arch sm_90a --json");
    const Finished finished = tool(compile, only);
    CHECK(finished.exit_code == 0);
    CHECK(finished.json()["origin"] == "disk");
    CHECK(finished.json()["target"] == "sm_90a");
  }
  CHECK(fs::last_write_time(moved + "/v1") == before);
  CHECK_FALSE(fs::exists(tool.cache()));
  permit(moved, fs::perms{0755}, fs::perms{0644});
}

TEST_CASE("cli prewarm: what fails is told, and the rest is made", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json");
  write_text(manifest, kManifest);
  const Finished finished = tool({"cache", "prewarm", manifest, "--arch", "sm_199,compute_80", "--json"});
  CHECK(finished.exit_code == 3);  // all that failed failed because no NVRTC here can do it
  const auto report = finished.json();
  CHECK(report["compiled"] == 3);
  CHECK(report["requested"] == 9);
  REQUIRE(report["failed"].size() == 6);  // those for the GPUs that sm_199 would be, too
  CHECK(report["failed"][0]["arch"] == "sm_199");
  CHECK_THAT(report["failed"][0]["spec"].get<std::string>(), Contains("page_size=16"));
  CHECK_THAT(report["failed"][0]["error"].get<std::string>(), Contains("sm_199 is not supported"));
  // In words, once for each architecture.
  const std::string words = tool({"cache", "prewarm", manifest, "--arch", "sm_198,compute_199"}).out;
  CHECK_THAT(words,
             Contains("FAILED  compute_199 for gqa_decode") && Contains(" and 2 more: architecture compute_199"));
  for (const char* const sentence : {"architecture sm_198 ", "architecture compute_199 "}) {
    CAPTURE(words, sentence);
    CHECK(words.find(sentence) != std::string::npos);
    CHECK(words.find(sentence) == words.rfind(sentence));
  }
  write_text(manifest, R"({"archs": ["sm_80", "sm_75"], "specs": [")" + kSpec + "\"]}");
  const Finished old = tool({"cache", "prewarm", manifest});
  CHECK(old.exit_code == 1);
  CHECK_THAT(old.err, Contains(manifest + ": archs: arch sm_75 is not supported") && !Contains("doctor"));
}

TEST_CASE("cli prewarm: exit codes tell a machine that cannot from what was typed wrongly", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json");
  write_text(manifest, kManifest);
  const Finished without = tool({"cache", "prewarm", manifest}, {{"LIBRT_NVRTC", "/nonexistent/libnvrtc.so.13"}});
  CHECK(without.exit_code == 3);
  CHECK_THAT(without.err, Contains("/nonexistent/libnvrtc.so.13"));
  CHECK(tool({"cache", "prewarm", "no-such-model"}).exit_code == 2);
  CHECK_THAT(tool({"cache", "prewarm", "llama-3-8"}).err, Contains("did you mean llama-3-8b?"));
  CHECK(tool({"cache", "prewarm", manifest, "--arch", "sm90"}).exit_code == 2);
  CHECK(tool({"cache", "prewarm", manifest, "-j", "0"}).exit_code == 2);
  CHECK(tool({"cache", "prewarm", manifest}, {{"LIBRT_CACHE_MODE", "ro"}}).exit_code == 2);
  const Finished no_archs = tool({"cache", "prewarm", "llama-3-8b"});
  CHECK(no_archs.exit_code == 2);
  CHECK_THAT(no_archs.err, Contains("give --arch"));
  write_text(manifest, R"({"specs": ["mla_decode dtype=bf16 num_heads=200 page_size=16"]})");
  const Finished bad = tool({"cache", "prewarm", manifest, "--arch", "sm_80"});
  CHECK(bad.exit_code == 1);
  CHECK_THAT(bad.err, Contains(manifest + ": specs[0]: mla_decode: num_heads=200 is not supported; allowed: 1..128"));
  CHECK_FALSE(fs::exists(tool.cache()));
}

TEST_CASE("cli prewarm: a cache that cannot be written, or is too small, is a problem", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json");
  write_text(manifest, kManifest);
  write_text(tool.file("file"), "in the directory's place");
  // Before anything is compiled: without NVRTC it is the same.
  for (const std::string& place : {tool.file("file"), tool.file("file") + "/below", std::string("/proc/librt")}) {
    CAPTURE(place);
    const Finished refused = tool({"cache", "prewarm", manifest, "--dir", place, "--json"}, {{"LIBRT_NVRTC", "/none"}});
    CHECK(refused.exit_code == 2);
    CHECK_THAT(refused.json()["error"]["message"].get<std::string>(), Contains(place + " cannot be filled: "));
    CHECK(tool({"cache", "prewarm", manifest}, {{"LIBRT_CACHE_DIR", place}}).exit_code == 2);
  }
  const Finished unwritten = tool({"cache", "prewarm", manifest, "--json"}, {{"LIBRT_CACHE_MAX_SIZE", "1"}});
  CHECK(unwritten.exit_code == 1);
  REQUIRE(unwritten.json()["failed"].size() == 3);
  CHECK(unwritten.json()["failed"][0]["code"] == "io");
  CHECK_THAT(unwritten.json()["failed"][0]["error"].get<std::string>(), Contains(tool.cache()));

  const auto whole = tool({"cache", "prewarm", manifest, "--dir", tool.file("whole"), "--json"}).json();
  const std::string size = std::to_string(whole["bytes"].get<int>() - 1000);
  const Finished small = tool({"cache", "prewarm", manifest}, {{"LIBRT_CACHE_MAX_SIZE", size}});
  CHECK(small.exit_code == 1);
  CHECK_THAT(small.err, Contains("removed again") && Contains("LIBRT_CACHE_MAX_SIZE"));
}

TEST_CASE("cli prewarm: killed, it goes on where it was", "[cli]") {
  const Tool tool;
  const std::string manifest = tool.file("m.json");
  write_text(
      manifest,
      R"({"specs": ["gqa_decode dtype=f16 num_qo_heads=8 num_kv_heads=2 head_dim=64 page_size=1,2,3,4,5,6,7,8,9,10,11,12"]})");
  const std::string directory = "LIBRT_CACHE_DIR=" + tool.cache();
  std::vector<char*> environment{const_cast<char*>(directory.c_str())};
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view variable(*each);
    if (!variable.starts_with("LIBRT_") || variable.starts_with("LIBRT_NVRTC=")) environment.push_back(*each);
  }
  environment.push_back(nullptr);
  std::vector<std::string> arguments{LIBRT_TOOL, "cache", "prewarm", manifest, "--arch", "compute_80", "-j", "1"};
  std::vector<char*> pointers;
  for (std::string& each : arguments) pointers.push_back(each.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  REQUIRE(posix_spawn(&child, LIBRT_TOOL, &actions, nullptr, pointers.data(), environment.data()) == 0);
  posix_spawn_file_actions_destroy(&actions);
  for (int i = 0; i < 30000 && !any_entry(tool.cache()); ++i) ::usleep(1000);
  ::kill(child, SIGKILL);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));

  const std::size_t there = entries_of(tool);
  CHECK(there >= 1);
  CHECK(there < 13);
  const auto report = tool({"cache", "prewarm", manifest, "--arch", "compute_80", "--json"}).json();
  CHECK(report["already_there"] == there);
  CHECK(report["compiled"] == 13 - there);
  CHECK(report["failed"].empty());
  CHECK(tool({"cache", "verify"}).exit_code == 0);
}

TEST_CASE("cli prewarm: the built-in manifests are sound and say where their shapes come from", "[cli]") {
  const Tool tool;
  const auto list = tool({"cache", "prewarm", "--list", "--json"}).json();
  REQUIRE(list.size() >= 5);
  CHECK(list[0]["name"] == "matrix");
  const std::vector<std::string> matrices = librt::test::files_of_kernels("matrix.json");
  std::size_t shipped = 0;
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    CHECK(LIBRT_SOURCE_DIR "/" + list[i + 1]["path"].get<std::string>() == matrices[i]);
    shipped += list[i + 1]["specs"].get<std::size_t>();
  }
  CHECK(list[0]["specs"] == shipped);
  for (std::size_t i = 1 + matrices.size(); i < list.size(); ++i) {
    CHECK_THAT(list[i]["source"].get<std::string>(), Catch::StartsWith("config.json of "));
    CHECK(list[i]["specs"].get<int>() > 0);
    CHECK(list[i]["path"] == "kernels/manifests/" + list[i]["name"].get<std::string>() + ".json");
    CHECK(fs::exists(std::string(LIBRT_SOURCE_DIR "/") + list[i]["path"].get<std::string>()));
  }
  CHECK_THAT(tool({"cache", "prewarm", "--list"}).out, Contains("llama-3-8b") && Contains("deepseek-v3"));
  const auto llama = tool({"cache", "prewarm", "llama-3-8b", "--arch", "compute_80", "--json"}).json();
  CHECK(llama["failed"].empty());
  CHECK(llama["compiled"] == 5);
}

TEST_CASE("cli prewarm: makes what a recorded run asked for", "[cli]") {
  const Tool tool;
  const std::string asked = tool.file("asked.json");
  const Variables recording{{"LIBRT_RECORD", asked}};
  const Finished compiled = tool(words("compile " + kSpec + " --arch compute_80"), recording);
  REQUIRE(compiled.exit_code == 0);
  CHECK(compiled.err.find("warn") == std::string::npos);
  REQUIRE(
      tool(words("compile mla_decode dtype=bf16 num_heads=16 page_size=64 --arch compute_80"), recording).exit_code ==
      0);
  const std::string other = tool.file("other");
  const auto report = tool({"cache", "prewarm", asked, "--dir", other, "--json"}).json();
  CHECK(report["archs"] == nlohmann::json{"compute_80"});
  CHECK(report["compiled"] == 4);
  const Variables only{{"LIBRT_CACHE_MODE", "only"}, {"LIBRT_CACHE_DIR", other}};
  CHECK(tool(words("compile " + kSpec + " --arch compute_80"), only).exit_code == 0);

  write_text(asked, "something else");
  const Finished foreign = tool(words("compile " + kSpec + " --arch compute_80"), recording);
  CHECK(foreign.exit_code == 0);
  CHECK_THAT(foreign.err, Contains("requests are not recorded") && Contains(asked));
  CHECK(librt::test::read_text(asked) == "something else");
}
