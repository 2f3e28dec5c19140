// Files that a verb is told to write: never one that it reads, and looked at before the work.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "tests/cli/batch.hpp"
#include "tests/cli/process.hpp"

using librt::test::Batch;
using librt::test::Finished;
using librt::test::read_text;
using librt::test::Tool;
namespace fs = std::filesystem;

namespace {

const std::vector<std::string> kCompile{"compile",    "mla_decode", "num_heads=16", "page_size=64",
                                        "dtype=bf16", "--arch",     "compute_80"};

std::vector<std::string> and_more(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("cli run: the output is never the input, by whatever name", "[cli]") {
  const Tool tool;
  fs::create_directory(tool.file("directory"));
  const std::string in = tool.file("in.safetensors");
  Batch(librt::test::gqa_shape(), {13, 6}, 5).file().write(in);
  const std::string before = read_text(in);
  fs::create_symlink(in, tool.file("link"));
  fs::create_symlink("link", tool.file("link to the link"));
  fs::create_hard_link(in, tool.file("hard link"));
  fs::create_directory_symlink(tool.file("."), tool.file("directory/up"));
  const int descriptor = ::open(in.c_str(), O_RDONLY);  // inherited
  const std::string by_descriptor = "/proc/self/fd/" + std::to_string(descriptor);
  for (const std::string& out : {in, tool.file("./in.safetensors"), tool.file("directory/../in.safetensors"),
                                 fs::relative(in).string(), tool.file("link"), tool.file("link to the link"),
                                 tool.file("hard link"), tool.file("directory/up/in.safetensors"), by_descriptor}) {
    CAPTURE(out);
    const Finished finished = tool({"run", in, "-o", out, "--device", "virtual"});
    CHECK(finished.exit_code == 2);
    CHECK_THAT(finished.err, Catch::Contains("which is read"));
    CHECK(tool({"run", out, "-o", in, "--device", "virtual"}).exit_code == 2);
    CHECK(read_text(in) == before);
  }
  ::close(descriptor);
  CHECK(fs::is_symlink(tool.file("link")));
  CHECK_FALSE(fs::exists(tool.cache()));  // nothing had begun
}

TEST_CASE("cli: an output that cannot be written is refused before the work", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  Batch(librt::test::gqa_shape(), {13}, 5).file().write(in);
  librt::test::write_text(tool.file("file"), "x");
  for (const std::string& out : {tool.file("none/out"), tool.file("file/out"), tool.file("."), std::string("/proc/out"),
                                 tool.file(std::string(255, 'n')), std::string()}) {
    CAPTURE(out);
    CHECK(tool({"run", in, "-o", out, "--device", "virtual"}).exit_code == 2);
    CHECK(tool(and_more(kCompile, {"-o", out})).exit_code == 2);
    if (!out.empty()) CHECK(tool(and_more(kCompile, {"--ptx=" + out})).exit_code == 2);
  }
  CHECK_FALSE(fs::exists(tool.cache()));
}

TEST_CASE("cli compile, cache extract: no output takes the place of what is read, or of the other", "[cli]") {
  const Tool tool;
  REQUIRE(tool(kCompile).exit_code == 0);
  std::string entry;
  for (const auto& each : fs::recursive_directory_iterator(tool.cache())) {
    if (each.path().extension() == ".rtk") entry = each.path().string();
  }
  REQUIRE_FALSE(entry.empty());
  const std::string before = read_text(entry);
  const std::string key = tool({"cache", "ls", "--json"}).json()["entries"][0]["key"];
  CHECK(tool({"cache", "extract", key, "-o", entry}).exit_code == 2);
  CHECK(tool(and_more(kCompile, {"-o", entry})).exit_code == 2);
  CHECK(tool({"cache", "extract", key, "-o", tool.file("none/x")}).exit_code == 2);
  CHECK(read_text(entry) == before);
  CHECK(tool({"cache", "verify"}).exit_code == 0);

  const std::string same = tool.file("same");
  const Finished both = tool(and_more(kCompile, {"-o", same, "--ptx=" + tool.file("./same")}));
  CHECK(both.exit_code == 2);
  CHECK_THAT(both.err, Catch::Contains("-o and --ptx both name"));
  CHECK_FALSE(fs::exists(same));
  CHECK(tool(and_more(kCompile, {"-o", "librt-test-same", "--ptx=./librt-test-same"})).exit_code == 2);

  const std::string kernels = tool.file("kernels");
  fs::copy(LIBRT_SOURCE_DIR "/kernels", kernels, fs::copy_options::recursive);
  std::string header;
  for (const auto& each : fs::recursive_directory_iterator(kernels)) {
    if (each.path().extension() == ".cuh") header = each.path().string();
  }
  REQUIRE_FALSE(header.empty());
  const std::string text = read_text(header);
  CHECK(tool(and_more(kCompile, {"-o", header}), {{"LIBRT_KERNELS_DIR", kernels}}).exit_code == 2);
  CHECK(read_text(header) == text);
}

TEST_CASE("cli run --example: a batch to start from", "[cli]") {
  const Tool& tool = librt::test::shared_tool();
  for (const std::string kernel : {"", "gqa_decode", "mla_decode"}) {
    CAPTURE(kernel);
    const std::string path = tool.file("example" + kernel);
    std::vector<std::string> words{"run", "--example", path};
    if (!kernel.empty()) words.push_back(kernel);
    const Finished written = tool(words);
    CHECK(written.exit_code == 0);
    CHECK(written.out.empty());
    const Finished checked = tool({"check", path, "--json"});
    CHECK(checked.exit_code == 0);
    CHECK(checked.json()["kernel"] == (kernel.empty() ? "gqa_decode" : kernel));
    CHECK_THAT(checked.err, Catch::Contains("with NaN or Inf in padding"));
    const Finished ran = tool({"run", path, "-o", tool.file("example-out"), "--device", "virtual", "--json"});
    INFO(ran.err);
    CHECK(ran.exit_code == 0);
    CHECK(ran.json()["nan_in_output"] == 0);
    CHECK(ran.json()["ignored"].empty());

    // 1/sqrt(64), and of MLA what its models scale by, 1/sqrt(128 + 64): as text in the file's header.
    const std::string before = read_text(path);
    CHECK_THAT(before, Catch::Contains(kernel == "mla_decode" ? "\"sm_scale\":\"0.0721687" : "\"sm_scale\":\"0.125\""));
    CHECK(tool(words).exit_code == 2);
    CHECK(read_text(path) == before);
  }
  fs::create_symlink(tool.file("nowhere"), tool.file("dangling"));
  CHECK(tool({"run", "--example", tool.file("dangling")}).exit_code == 2);
  CHECK(tool({"run", "--example", tool.file("x"), "append_kv"}).exit_code == 2);
  CHECK(tool({"run", "--example", tool.file("x"), "-o", tool.file("y")}).exit_code == 2);
  CHECK(tool({"run", "--example", tool.file("none/x")}).exit_code == 2);
  CHECK(tool({"run", "--example", ""}).exit_code == 2);
  CHECK_FALSE(fs::exists(tool.file("x")));
  CHECK_FALSE(fs::exists(tool.file("nowhere")));
}

TEST_CASE("cli run --help: every tensor with its shape and type, in 80 columns", "[cli]") {
  const std::string help = Tool()({"run", "--help"}).out;
  const std::size_t begin = help.find("\nTensors; a batch");
  REQUIRE(begin != std::string::npos);
  const std::string tables = help.substr(begin);
  for (const char* const name : {"q", "k_pages", "v_pages", "q_nope", "q_pe", "ckv_pages", "kpe_pages", "kv_indptr",
                                 "kv_indices", "kv_last_page_len", "qo_indptr", "kernel", "sm_scale", "kv_layout",
                                 "mask", "window_left, logits_soft_cap", "[batch, qo_heads, head_dim]", "I32"}) {
    CHECK_THAT(tables, Catch::Contains("  " + std::string(name) + " ") || Catch::Contains(std::string(name)));
  }
  std::istringstream lines(tables);
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.size() <= 80);
  }
}

TEST_CASE("cli: numbers out of range are usage", "[cli]") {
  const Tool tool;
  const std::vector<std::vector<std::string>> wrong{{"prove", "--batches", "-1"},
                                                    {"prove", "--batches", "x"},
                                                    {"prove", "-j", "-1"},
                                                    {"prove", "-j", "0"},
                                                    {"prove", "-j", "4294967297"},
                                                    {"cache", "prewarm", "-j", "0"},
                                                    {"cache", "prewarm", "-j", "-1"},
                                                    {"cache", "gc", "--max-size", "-1"},
                                                    {"cache", "gc", "--older-than", "-1d"},
                                                    {"run", "in", "-o", tool.file("o"), "--split-pages", "-1"},
                                                    {"run", "in", "-o", tool.file("o"), "--split-pages", "4294967296"},
                                                    {"run", "in", "-o", tool.file("o"), "--split-pages", "1.5"}};
  for (const auto& words : wrong) {
    CAPTURE(words);
    CHECK(tool(words).exit_code == 2);
  }
}
