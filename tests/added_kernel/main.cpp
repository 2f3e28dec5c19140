// A kernel that is none of librt's goes all of the ways: parsed, compiled, cached, run, proven, prewarmed.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "mean_decode.hpp"
#include "src/reference/numbers.hpp"
#include "src/util/files.hpp"
#include "src/util/safetensors.hpp"
#include "tests/support/kernels_copy.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"
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
  CHECK(parse_manifest(R"({"specs": ["mean_decode dtype=bf16,f16 num_kv_heads=2 page_size=2,4,8"]})", "here")
            .specs.size() == 6);
  CHECK_FALSE(mean.as<GqaDecodeSpec>());
}

/// What is said of mean_decode with a change.
template <class Change>
std::string complaint_about(const Change& change) {
  KernelDescription other = mean_decode();
  other.name = "other";
  other.sources = {};
  change(other);
  const std::string said = complaint(other);
  CHECK(find_kernel("other") == nullptr);
  return said.starts_with("kernel other: ") ? said.substr(14) : said;
}

std::string complaint_about_field(const Field& field) {
  static Field fields[5];  // a description's data must stay
  std::ranges::copy(mean_decode().fields, fields);
  fields[4] = field;
  return complaint_about([](KernelDescription& other) { other.fields = fields; });
}

std::string complaint_about_operand(std::size_t place, const Operand& operand) {
  static Operand operands[8];
  std::ranges::copy(mean_decode().operands, operands);
  operands[place] = operand;
  return complaint_about(
      [&](KernelDescription& other) { other.operands = std::span(operands).first(place == 7 ? 8 : 7); });
}

TEST_CASE("A description that cannot be is refused by name", "[added]") {
  spec();
  CHECK(complaint(mean_decode()) == "kernel mean_decode is there already; allowed: another name");
  KernelDescription unnamed = mean_decode();
  unnamed.name = "a-b";
  CHECK(complaint(unnamed) == "kernel \"a-b\": a name must be an identifier");
  unnamed.name = "device";
  CHECK(complaint(unnamed) == "kernel device: the name is taken; allowed: another name");
  CHECK(complaint_about([](auto& other) { other.fill = nullptr; }) == "it lacks specialize or fill");
  CHECK(complaint_about([](auto& other) { other.split = nullptr; }) ==
        "it has a workspace or a merge, but lacks split");
  CHECK(complaint_about([](auto& other) { other.operands = other.operands.first(5); }) ==
        "0 operands are a workspace; allowed: 1");
  CHECK(
      complaint_about([](auto& other) { other.fields = other.fields.first(2); }) ==
      "operand v_pages: extent page_size is not known; allowed: batch, batch + 1, num_pages, a field, a count, a count "
      "+ 1");

  CHECK(complaint_about_field({.name = "dtype", .high = 1}) == "field dtype is there twice");
  CHECK(complaint_about_field({.name = "", .high = 1}) == "field \"\": a name must be an identifier");
  CHECK(complaint_about_field({.name = "kernel", .high = 1}).starts_with("field kernel has a name that is taken"));
  CHECK(complaint_about_field({.name = "x", .high = 1, .default_field = "y"}) ==
        "field x has the default_field y, which is no earlier field");
  CHECK(complaint_about_field({.name = "x", .low = 2, .high = 1}) == "field x allows nothing: 2..1");
  CHECK(complaint_about_field({.name = "x", .high = 1, .default_value = 2}) ==
        "field x does not allow its default_value 2");
  static constexpr DType kNone[] = {static_cast<DType>(99)};
  CHECK(complaint_about_field({.name = "x", .dtypes = kNone}) == "field x allows DType 99, which is none");

  static constexpr std::string_view kPages[] = {"num_pages", "page_size", "head_dim"}, kZero[] = {"batch", "dtype"},
                                    kTurned[] = {"page_size", "num_pages", "head_dim"};
  CHECK(complaint_about_operand(0, {.name = "v", .form = Form::paged, .element = "f32", .shape = kPages}) ==
        "operand v: pages have elements of a field with dtypes");
  CHECK(complaint_about_operand(0, {.name = "v", .form = Form::paged, .element = "dtype", .shape = kTurned}) ==
        "operand v: pages have the shape num_pages, then fields");
  CHECK(complaint_about_operand(0, {.name = "v", .form = Form::paged, .element = "dtype", .shape = kZero}) ==
        "operand v: it has 2 extents; allowed: 3 or 4");
  CHECK(complaint_about_operand(0, {.name = "v", .element = "dtype", .shape = kZero}) ==
        "operand v: extent dtype may be 0 or less");
  CHECK(complaint_about_operand(0, {.name = "v", .element = "head_dim"}) ==
        "operand v: element \"head_dim\" is not known; allowed: f32, i32, a field with dtypes");
  CHECK(complaint_about_operand(0, {.name = "v", .form = static_cast<Form>(9)}) ==
        "operand v: form is none of the enum's");
  CHECK(complaint_about_operand(0, {.name = "out"}).starts_with("operand out is there twice"));
  CHECK(complaint_about_operand(1, {.name = "ip", .form = Form::scalar, .meaning = Meaning::kv_indptr}) ==
        "operand ip: a number is read, not optional, and has no meaning");
  CHECK(complaint_about_operand(1, {.name = "ip", .meaning = Meaning::kv_indptr, .element = "f32"}) ==
        "operand ip: a page table is dense, read, i32 and not optional");
  CHECK(complaint_about_operand(7, {.name = "n", .access = Access::write, .form = Form::count}) ==
        "operand n: a number is read, not optional, and has no meaning");
  CHECK(complaint_about_operand(0, {.name = "v", .access = Access::update, .element = "dtype", .shape = kPages}) ==
        "operand v: pages alone are updated");
  CHECK(complaint_about_operand(0, {.name = "v", .form = Form::rows, .element = "dtype", .shape = kTurned}) ==
        "operand v: rows consist of fields");
  CHECK(complaint_about_operand(0, {.name = "v", .form = Form::rows, .element = "i32", .shape = kPages}) ==
        "operand v: rows have elements of a field with dtypes");
  CHECK(complaint_about([](auto& other) { other.inspect = [](const HostArguments&) {}; }) ==
        "it has inspect, which is for kernels that take no plan");
  CHECK(complaint_about_operand(5, {.name = "workspace", .form = Form::workspace}) ==
        "operand workspace: a workspace is written, not optional, and has no meaning");
  CHECK(complaint_about_operand(7, {.name = "more", .access = Access::write, .form = Form::workspace}) ==
        "2 operands are a workspace; allowed: 1");

  const auto with_sources = [](std::string_view first, std::string_view second) {
    static KernelSource sources[2];
    sources[0] = {.name = first, .text = "// one"};
    sources[1] = {.name = second, .text = "// two"};
    return complaint_about([](KernelDescription& other) { other.sources = sources; });
  };
  CHECK(with_sources("other/other.cuh", "mean/x.h") == "source \"mean/x.h\" does not lie in other/");
  CHECK(with_sources("other/other.cuh", "other/other.cuh") == "source \"other/other.cuh\" is there twice");
  CHECK(with_sources("other/x.cuh", "other/y.h") == "among its sources is no other/other.cuh");
  CHECK(with_sources("other/other.cuh", "other/../device/mask.cuh").find("is not the name of a source") !=
        std::string::npos);
}

/// The description under another name, with a file of its own. What it points to stays for good, as it must.
const KernelKind& added(const std::string& name, KernelDescription changed) {
  struct Kept {
    std::string name, file;
    KernelSource source;
  };
  static auto& all = *new std::deque<Kept>;
  Kept& kept = all.emplace_back(Kept{name, name + "/" + name + ".cuh", {}});
  kept.source = {.name = kept.file, .text = "#pragma once\n"};
  changed.name = kept.name;
  changed.sources = {&kept.source, 1};
  return Runtime::add_kernel(changed);
}

Spec spec_of(const KernelKind& kind, int heads = 2) {
  const int values[] = {static_cast<int>(DType::bf16), heads, 64, 4};
  return {kind, values};
}

TEST_CASE("What a description gives for a launch is in the key, and has to be possible", "[added]") {
  const TempDir dir;
  Runtime runtime(options_in(dir.path()));
  // The number of heads stands in no key, and reaches the launch all the same.
  KernelDescription by_heads = mean_decode();
  by_heads.specialize = [](const Spec& of, const Arch& arch) {
    KernelVariant variant = mean_decode().specialize(of, arch);
    variant.shared_bytes = 1024 * of.get("num_kv_heads");
    return variant;
  };
  const KernelKind& kind = added("by_heads", by_heads);
  CHECK(runtime.explain(spec_of(kind, 2), kArch).key != runtime.explain(spec_of(kind, 4), kArch).key);

  KernelDescription impossible = mean_decode();
  impossible.specialize = [](const Spec& of, const Arch& arch) {
    KernelVariant variant = mean_decode().specialize(of, arch);
    variant.block_threads = 1024 + of.get("num_kv_heads");
    return variant;
  };
  const auto said = thrown_by([&] { runtime.compile(spec_of(added("impossible", impossible)), kArch); });
  REQUIRE(said);
  CHECK(said->code == ErrorCode::invalid_argument);
  CHECK(said->what == "kernel impossible: specialize gave block_threads=1026; allowed: 1..1024");
  KernelDescription worded = mean_decode();
  worded.specialize = [](const Spec&, const Arch&) {
    return KernelVariant{.traits = "Mean", .arguments = "1>; }", .block_threads = 32};
  };
  CHECK(thrown_by([&] {
          runtime.compile(spec_of(added("worded", worded)), kArch);
        })->what.starts_with("kernel worded: specialize gave arguments \"1>; }\"; allowed: "));
  KernelDescription newer = mean_decode();
  newer.oldest_sm = 90;
  CHECK(thrown_by([&] { runtime.compile(spec_of(added("newer", newer)), kArch); })->what ==
        "arch compute_80 is not supported by newer; allowed: sm_90 and up");
  KernelDescription thrower = mean_decode();
  thrower.specialize = [](const Spec&, const Arch&) -> KernelVariant { throw std::runtime_error("of its own"); };
  const std::vector<Spec> specs{spec_of(added("thrower", thrower))};
  const PrewarmReport report = runtime.prewarm(specs, std::vector<Arch>{kArch});
  REQUIRE(report.failed.size() == 1);
  CHECK(report.failed[0].error == "of its own");
}

TEST_CASE("A merge that could not be launched is refused before anything is compiled", "[added]") {
  const TempDir dir;
  spec();
  Runtime runtime(options_in(dir.path()));
  KernelDescription merged = mean_decode();
  const auto said = [&](const std::string& name, Spec (*merge)(const Spec&)) {
    merged.merge = merge;
    return thrown_by([&] { runtime.get(spec_of(added(name, merged))); })->what;
  };
  CHECK(said("merged_by_gqa", [](const Spec&) -> Spec {
          return GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 2, .head_dim = 64, .page_size = 4};
        }).find("is not a kernel that joins parts") != std::string::npos);
  CHECK(said("merged_by_itself", [](const Spec& of) { return of; }).find("is not a kernel that joins parts") !=
        std::string::npos);
  CHECK(said("merged_by_others",
             [](const Spec&) { return parse_spec("merge_states dtype=bf16 head_dim=64 num_heads=3"); }) ==
        "kernel merged_by_others: its merge, merge_states dtype=bf16 head_dim=64 num_heads=3, needs out, which "
        "merged_by_others has in another shape");
  CHECK(thrown_by([&] { runtime.get(parse_spec("merge_states dtype=bf16 head_dim=64 num_heads=3")); })->what ==
        "merge_states is launched by the kernels whose splits it joins, and not by itself");
  CHECK(cache_list(options_in(dir.path())).empty());
}

TEST_CASE("A kernels directory is read once, also where a kernel is added later", "[added]") {
  const TempDir dir;
  write_kernels(dir / "kernels");
  Options options = options_in(dir / "cache");
  options.kernels_dir = dir / "kernels";
  options.log = [](LogLevel, std::string_view) {};
  Runtime runtime(options);
  const Spec gqa = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
  const std::string key = runtime.explain(gqa, kArch).key;
  std::filesystem::remove_all(dir / "kernels");
  KernelDescription late = mean_decode();
  late.name = "late_decode";
  static const std::string text = "#pragma once\n#include \"device/types.cuh\"\n";
  static const KernelSource sources[] = {{.name = "late_decode/late_decode.cuh", .text = text}};
  late.sources = sources;
  const KernelKind& kind = Runtime::add_kernel(late);
  CHECK(runtime.explain(spec_of(kind), kArch).key_document.find("late_decode/late_decode.cuh") != std::string::npos);
  CHECK(runtime.explain(gqa, kArch).key == key);
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
    std::fill_n(pages.begin() + static_cast<std::ptrdiff_t>(page * 4 * 128), tokens * 128,
                reference::to_bits(value, DType::bf16));
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
  for (const std::uint16_t padding : {std::uint16_t{0}, reference::kNaN}) {
    const tool::TensorFile input = tool::read_tensor_file(Batch(padding).file(dir / "batch.safetensors"));
    CHECK(input.problem.spec == mean);
    CHECK(input.ignored.empty());
    results.push_back(tool::decode(runtime, kernel, input.problem, 0).out);
  }
  CHECK(results[0] == results[1]);
  REQUIRE(results[0].size() == 3 * 128);
  CHECK(reference::to_double(results[0][0], DType::bf16) == 1.0);  // (4 * 1 + 6) / 5 / 2
  CHECK(reference::to_double(results[0][128], DType::bf16) == 0.0);
  CHECK(reference::to_double(results[0][383], DType::bf16) == -1.0);
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
