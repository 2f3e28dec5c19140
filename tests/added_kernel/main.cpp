// A kernel that is none of librt's goes all of the ways: parsed, compiled, cached, run, proven, prewarmed.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "mean_decode.hpp"
#include "src/util/files.hpp"
#include "src/util/safetensors.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"
#include "tools/librt/numbers.hpp"
#include "tools/librt/proof.hpp"
#include "tools/librt/tensor_file.hpp"

namespace librt::test {
namespace {

constexpr std::string_view kSpecText = "mean_decode dtype=bf16 num_kv_heads=2 head_dim=64 page_size=4";
const Arch kArch{80, 0, true};

Spec spec() {
  static const KernelKind& kind = Runtime::add_kernel(mean_decode());
  REQUIRE(find_kernel("mean_decode") == &kind);
  return parse_spec(kSpecText);
}

Options options_in(const std::string& directory) {
  Options options;
  options.cache_dir = directory;
  options.device = "virtual:sm_80";
  return options;
}

std::string complaint(const KernelDescription& description) {
  const auto thrown = thrown_by([&] { Runtime::add_kernel(description); });
  return thrown ? thrown->what : "accepted";
}

TEST_CASE("Specs of an added kernel are parsed, printed and checked by its fields", "[added]") {
  const Spec mean = spec();
  CHECK(to_string(mean) == kSpecText);
  CHECK(parse_spec("mean_decode page_size=4 num_kv_heads=2 dtype=bf16") == mean);
  CHECK(thrown_by([] { parse_spec("mean_decode dtype=bf16 num_kv_heads=2 page_size=3"); })->what ==
        "mean_decode: page_size=3 is not supported; allowed: an even number");
  CHECK(thrown_by([] { parse_spec("mean_decode dtype=bf16 num_kv_heads=65 page_size=4"); })->what ==
        "mean_decode: num_kv_heads=65 is not supported; allowed: 1..64");
  CHECK(thrown_by([] { parse_spec("mean_decod dtype=bf16"); })->what.find("did you mean mean_decode?") !=
        std::string::npos);
  CHECK(parse_manifest(R"({"specs": ["mean_decode dtype=bf16,f16 num_kv_heads=2 page_size=2..8*2"]})", "here")
            .specs.size() == 6);
  CHECK_FALSE(mean.as<GqaDecodeSpec>());
}

TEST_CASE("A description that cannot be is refused by name", "[added]") {
  spec();
  CHECK(complaint(mean_decode()) == "kernel mean_decode is there already; allowed: another name");
  KernelDescription other = mean_decode();
  other.name = "other";
  other.fill = nullptr;
  CHECK(complaint(other) == "kernel other: it lacks specialize or fill");
  other.fill = mean_decode().fill;
  CHECK(complaint(other) == "kernel other: source mean_decode/mean_decode.cuh does not lie in other/");
  other.sources = {};
  constexpr Field kTwice[] = {{.name = "dtype", .low = 0, .high = 1}, {.name = "dtype", .low = 0, .high = 1}};
  other.fields = kTwice;
  CHECK(complaint(other) == "kernel other: field dtype is there twice");
  constexpr Field kFollower[] = {{.name = "dtype", .low = 0, .high = 1, .default_field = "kv_dtype"}};
  other.fields = kFollower;
  CHECK(complaint(other) == "kernel other: field dtype: default_field kv_dtype is no earlier field");
  other.fields = mean_decode().fields.first(2);
  CHECK(complaint(other).find("operand v_pages: extent \"page_size\" is not known; allowed: batch, ") !=
        std::string::npos);
  other.fields = mean_decode().fields;
  other.operands = mean_decode().operands.first(5);
  CHECK(complaint(other) == "kernel other: no operand is the workspace");
  CHECK(find_kernel("other") == nullptr);
}

TEST_CASE("An added kernel is compiled once, cached and prewarmed", "[added]") {
  const TempDir dir;
  const Spec mean = spec();
  {
    Runtime runtime(options_in(dir.path()));
    const std::vector<Spec> specs{mean, mean.with("num_kv_heads", 8)};  // the heads do not reach the program
    const PrewarmReport report = runtime.prewarm(specs, std::vector<Arch>{kArch});
    CHECK(report.requested == 1);
    CHECK(report.compiled == 1);
    CHECK(report.failed.empty());
  }
  Options only = options_in(dir.path());
  only.cache_mode = CacheMode::only;
  Runtime runtime(only);
  const Kernel kernel = runtime.get(mean);
  CHECK(kernel.artifact().origin == Origin::disk);
  CHECK(kernel.artifact().entry == "librt_mean_decode");
  CHECK(nlohmann::json::parse(kernel.artifact().spec)["head_dim"] == 64);
  CHECK(runtime.get(mean).artifact().key == kernel.artifact().key);
  CHECK(runtime.stats().memory_hits == 1);
  CHECK(cache_list(only).at(0).kernel == "mean_decode");
}

struct Batch {
  std::vector<std::uint16_t> pages;
  std::vector<std::int32_t> indptr{0, 2, 2, 3}, indices{2, 0, 1}, last{1, 99, 3};

  explicit Batch(std::uint16_t padding) : pages(3 * 4 * 2 * 64, padding) {
    fill(2, 4, 1.0f);  // request 0: 5 tokens, four of 1 and one of 6
    fill(0, 1, 6.0f);
    fill(1, 3, -2.0f);  // request 2: 3 tokens
  }
  void fill(std::size_t page, std::size_t tokens, float value) {
    std::fill_n(pages.begin() + static_cast<std::ptrdiff_t>(page * 4 * 128), tokens * 128, tool::bf16_from(value));
  }
  std::string file(const std::string& path) const {
    const auto ints = [](const std::vector<std::int32_t>& values) {
      return util::Tensor{"I32", {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values))};
    };
    const std::map<std::string, util::Tensor> tensors{
        {"v_pages", {"BF16", {3, 4, 2, 64}, std::as_bytes(std::span(pages))}},
        {"kv_indptr", ints(indptr)},
        {"kv_indices", ints(indices)},
        {"kv_last_page_len", ints(last)}};
    util::write_file(path, util::write_safetensors(tensors, {{"kernel", "mean_decode"}, {"sm_scale", "0.5"}}));
    return path;
  }
};

TEST_CASE("An added kernel runs on a file, and its padding has no say", "[added]") {
  const TempDir dir;
  const Spec mean = spec();
  Runtime runtime(options_in(dir.path()));
  const Kernel kernel = runtime.get(mean);
  std::vector<std::vector<std::uint16_t>> results;
  for (const std::uint16_t padding : {std::uint16_t{0}, tool::kQuietNan}) {
    const tool::TensorFile input = tool::read_tensor_file(Batch(padding).file(dir / "batch.safetensors"));
    CHECK(input.problem.spec == mean);
    CHECK(input.ignored.empty());
    results.push_back(tool::decode(runtime, kernel, input.problem, 0).out);
  }
  CHECK(results[0] == results[1]);
  REQUIRE(results[0].size() == 3 * 128);
  CHECK(tool::to_double(DType::bf16, results[0][0]) == 1.0);  // (4 * 1 + 6) / 5 / 2
  CHECK(tool::to_double(DType::bf16, results[0][128]) == 0.0);
  CHECK(tool::to_double(DType::bf16, results[0][383]) == -1.0);
}

tool::Proof proof_of(const Options& options) {
  Runtime runtime(options);
  const tool::ProofArtifacts artifacts{std::make_shared<const Artifact>(runtime.compile(spec(), kArch)), nullptr, 0};
  return tool::prove(spec(), artifacts, {}, 0, {});
}

TEST_CASE("An added kernel is proven, and refuted where it reads past the end", "[added]") {
  const TempDir dir;
  const tool::Proof proof = proof_of(options_in(dir.path()));
  CHECK(proof.findings.empty());
  CHECK(proof.runs > 10);
  Options edited = options_in(dir.path());
  edited.cache_mode = CacheMode::off;
  edited.source_edits = {{.file = "mean_decode/mean_decode.cuh",
                          .find = "position < extent.tokens;",
                          .replace = "position < static_cast<unsigned>(num_pages * Traits::kPageSize);"}};
  const tool::Proof refuted = proof_of(edited);
  REQUIRE_FALSE(refuted.findings.empty());
  CHECK(refuted.findings.front().origin.find("v_pages: page ") == 0);
}

}  // namespace
}  // namespace librt::test
