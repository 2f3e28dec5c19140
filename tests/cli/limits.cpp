// What a machine does not let the tool do: grow a file, change a file system, write to the home of another user.
#include <catch2/catch.hpp>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "tests/cli/process.hpp"

using librt::test::Finished;
using librt::test::Tool;
using librt::test::Variables;

namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kCompile{"compile",     "gqa_decode",   "dtype=f16", "num_qo_heads=8", "num_kv_heads=2",
                                        "head_dim=64", "page_size=16", "--arch",    "compute_80"};

std::vector<std::string> words(std::vector<std::string> first, const std::vector<std::string>& rest) {
  first.insert(first.end(), rest.begin(), rest.end());
  return first;
}

/// The tool after `setting` in a shell, its exit code as the last line. What it prints goes through a pipe.
Finished in_shell(const Tool& tool, const std::string& setting, const std::vector<std::string>& arguments,
                  Variables variables = {}, const std::string& redirected = "") {
  variables.emplace("LIBRT_CACHE_DIR", tool.cache());
  const std::string script = "(" + setting + "; \"$@\" " + redirected + "; echo \"exit $?\") 2>&1 | cat";
  return librt::test::run_process("/bin/sh", words({"-c", script, "sh", LIBRT_TOOL}, arguments), variables);
}

}  // namespace

TEST_CASE("cli: a file size limit fails what is written, and nothing else", "[cli]") {
  const Tool tool;
  const Finished cold = in_shell(tool, "ulimit -f 1", kCompile);
  CHECK_THAT(cold.out, Catch::EndsWith("exit 0\n") && Catch::Contains("File too large"));
  const Finished output = in_shell(tool, "ulimit -f 1", words(kCompile, {"-o", tool.file("kernel.ptx")}));
  CHECK_THAT(output.out, Catch::EndsWith("exit 1\n") &&
                             Catch::Contains("cannot write " + tool.file("kernel.ptx") + ": File too large"));
#ifdef __SANITIZE_THREAD__
  WARN("skipped: no byte may be written; ThreadSanitizer writes to a file before main()");
#else
  const Finished again = in_shell(tool, "ulimit -f 0", kCompile, {{"LIBRT_RECORD", tool.file("asked.json")}});
  CHECK_THAT(again.out, Catch::EndsWith("exit 0\n") && Catch::Contains("requests are not recorded"));
  const Finished data = in_shell(tool, "ulimit -f 0; exec 3>" + tool.file("data"), {"--version"}, {}, ">&3");
  CHECK_THAT(data.out,
             Catch::EndsWith("exit 1\n") && Catch::Contains("the output could not be written: File too large"));
#endif
  // Nothing half written stays.
  for (const auto& item : fs::recursive_directory_iterator(fs::path(tool.cache()).parent_path())) {
    CAPTURE(item.path());
    for (const char* const whole : {".rtk", ".tmp", ".ptx"}) CHECK(item.path().extension() != whole);
  }
}

TEST_CASE("cli cache: what cannot be removed is exit code 1 with the reason", "[cli]") {
  const Tool tool;
  fs::create_directory(tool.cache());
  if (::mount("tmpfs", tool.cache().c_str(), "tmpfs", 0, "size=4m,mode=0700") != 0) {
    WARN("skipped: no tmpfs can be mounted here");
    return;
  }
  CHECK(tool(kCompile).exit_code == 0);
  CHECK(::mount(nullptr, tool.cache().c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0);
  for (const std::vector<std::string>& verb :
       {std::vector<std::string>{"clear"}, {"gc", "--max-size", "1"}, {"gc", "--older-than", "0s"}}) {
    const Finished finished = tool(words({"cache"}, verb));
    CHECK(finished.exit_code == 1);
    CHECK_THAT(finished.err,
               Catch::Contains("cannot remove " + tool.cache()) && Catch::Contains("Read-only file system"));
  }
  CHECK(tool({"cache", "gc", "--max-size", "1", "--dry-run"}).exit_code == 0);
  CHECK(tool({"cache", "gc"}).exit_code == 0);  // nothing has to go
  CHECK(tool({"cache", "ls", "--json"}).json()["entries"].size() == 1);
  CHECK(::umount(tool.cache().c_str()) == 0);
}

TEST_CASE("cli: root makes nothing in the home of another user", "[cli]") {
  const Tool tool;
  if (::geteuid() != 0) {
    WARN("skipped: only root can make a home of another user");
    return;
  }
  const std::string home = tool.file("home");
  fs::create_directory(home);
  REQUIRE(::chown(home.c_str(), 4001, 4001) == 0);
  const Variables sudo{{"LIBRT_CACHE_DIR", ""}, {"HOME", home}, {"XDG_CACHE_HOME", ""}};
  const Finished compiled = tool(kCompile, sudo);
  CHECK(compiled.exit_code == 0);
  CHECK_THAT(compiled.err, Catch::Contains("kept in memory only: HOME=" + home + " belongs to user 4001"));
  CHECK(fs::is_empty(home));
  const Finished listed = tool({"cache", "ls"}, sudo);
  CHECK(listed.exit_code == 3);
  CHECK_THAT(listed.err, Catch::Contains("belongs to user 4001"));
}

TEST_CASE("cli: a cache directory that is not absolute is refused, but for --dir", "[cli]") {
  const Tool tool;
  for (const auto& [name, value] : Variables{{"LIBRT_CACHE_DIR", "~/cache"}, {"LIBRT_CACHE_RO", "/a:layer"}}) {
    const Finished finished = tool({"cache", "ls"}, {{name, value}});
    CHECK(finished.exit_code == 2);
    CHECK_THAT(finished.err, Catch::Contains("allowed: an absolute path"));
    CHECK((finished.err.find("only a shell knows what ~ is") != std::string::npos) == (value[0] == '~'));
  }
  fs::create_directories(tool.file("dir/v1"));  // what makes it a cache
  const std::string relative = fs::relative(tool.file("dir"));
  REQUIRE(relative.front() != '/');
  const Finished here = tool({"cache", "path", "--dir", relative, "--json"});
  CHECK(here.exit_code == 0);
  CHECK(fs::equivalent(std::string(here.json()["path"]), tool.file("dir")));
  CHECK(std::string(here.json()["path"]).front() == '/');
  CHECK(here.json()["reason"] == "option");
  CHECK(tool({"cache", "path", "--json"}).json()["reason"] == "LIBRT_CACHE_DIR");
}
