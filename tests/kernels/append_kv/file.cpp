// librt run, check and prewarm of append_kv.
#include <catch2/catch.hpp>

#include <map>

#include "src/util/files.hpp"
#include "src/util/safetensors.hpp"
#include "tests/cli/process.hpp"
#include "tests/kernels/append_kv/append_case.hpp"

#ifdef LIBRT_TOOL

namespace librt::test {
namespace {

using util::Tensor;

/// As an engine would dump it.
struct Dump {
  Dump(const AppendCase& the_case, bool latent, bool hnd) : from(the_case) {
    const auto bytes = [](const auto& values) { return std::as_bytes(std::span(values)); };
    const std::int64_t heads = the_case.heads, page_size = the_case.page_size;
    for (const auto& [part, name] : {std::pair(&from.k, latent ? "ckv" : "k"), {&from.v, latent ? "kpe" : "v"}}) {
      const std::string rows = std::string(name) + "_new", pages = std::string(name) + "_pages";
      std::vector<std::int64_t> row_shape{from.total_new(), heads, part->dim};
      std::vector<std::int64_t> page_shape{AppendCase::kPages, hnd ? heads : page_size, hnd ? page_size : heads,
                                           part->dim};
      if (latent) {
        row_shape.erase(row_shape.begin() + 1);
        page_shape.erase(page_shape.begin() + 2);
      }
      tensors[rows] = {"BF16", row_shape, bytes(part->rows)};
      tensors[pages] = {"BF16", page_shape, bytes(part->pages)};
    }
    const auto integers = [&](const char* name, const std::vector<std::int32_t>& values) {
      tensors[name] = {"I32", {static_cast<std::int64_t>(values.size())}, bytes(values)};
    };
    integers("append_indptr", from.append_indptr);
    integers("append_positions", from.positions);
    integers("kv_indptr", from.kv_indptr);
    integers("kv_indices", from.kv_indices);
    metadata["kernel"] = "append_kv";
    if (hnd) metadata["kv_layout"] = "HND";
  }

  void write(const std::string& path) const { util::write_file(path, util::write_safetensors(tensors, metadata)); }

  AppendCase from;
  std::map<std::string, Tensor> tensors{};
  std::map<std::string, std::string> metadata{};
};

Finished run(const Tool& tool, const Dump& dump) {
  dump.write(tool.file("in.safetensors"));
  return tool({"run", tool.file("in.safetensors"), "-o", tool.file("out.safetensors"), "--device", "virtual"});
}

std::vector<Bits> bits_of(const Tensor* tensor) {
  REQUIRE(tensor != nullptr);
  std::vector<Bits> bits(tensor->bytes.size() / sizeof(Bits));
  std::memcpy(bits.data(), tensor->bytes.data(), tensor->bytes.size());
  return bits;
}

const std::string kGqaText = "append_kv dtype=bf16 num_kv_heads=3 head_dim=64 page_size=4";
const std::string kLatentText = "append_kv dtype=bf16 head_dim=512 head_dim_vo=64 page_size=4";

}  // namespace

TEST_CASE("librt run writes the pages with the new tokens in them", "[append_kv]") {
  const Tool& tool = shared_tool();
  for (const auto& [text, latent, hnd] :
       {std::tuple(kGqaText, false, false), {kGqaText, false, true}, {kLatentText, true, false}}) {
    INFO(text << (hnd ? " HND" : ""));
    const Dump dump(AppendCase(text, some_requests(4), hnd ? Layout::hnd : Layout::nhd, 8), latent, hnd);
    const Finished finished = run(tool, dump);
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const auto result = util::Safetensors::load(tool.file("out.safetensors"));
    CHECK(bits_of(result.find(latent ? "ckv_pages" : "k_pages")) == dump.from.expected(dump.from.k));
    CHECK(bits_of(result.find(latent ? "kpe_pages" : "v_pages")) == dump.from.expected(dump.from.v));
    CHECK(result.tensors().size() == 2);
    CHECK(result.find(latent ? "ckv_pages" : "k_pages")->shape ==
          dump.tensors.at(latent ? "ckv_pages" : "k_pages").shape);
    CHECK(tool({"check", tool.file("in.safetensors")}).exit_code == 0);
  }
}

TEST_CASE("librt run and check name what a file of append_kv has wrong", "[append_kv]") {
  const Tool& tool = shared_tool();
  const auto said = [&](const Dump& dump) {
    const Finished finished = run(tool, dump);
    CHECK(finished.exit_code == 1);
    const Finished checked = tool({"check", tool.file("in.safetensors"), "--json"});
    CHECK(checked.exit_code == 1);
    CHECK(checked.json()["kernel"] == "append_kv");
    CHECK(checked.json()["problem_count"] == 1);
    return finished.err;
  };
  const Dump good(AppendCase(kGqaText, some_requests(4), Layout::nhd, 9), false, false);
  Dump missing = good;
  missing.tensors.erase("append_positions");
  CHECK(said(missing).find("tensor append_positions is missing") != std::string::npos);
  Dump shape = good;
  shape.tensors.at("v_new").shape = {good.from.total_new(), 3 * 64, 1};
  CHECK(said(shape).find("tensor v_new has shape [8, 192, 1]") != std::string::npos);
  Dump type = good;
  for (const char* const name : {"k_pages", "v_pages"}) type.tensors.at(name).dtype = "F16";
  CHECK(said(type).find("tensor k_pages is F16, but k_new is BF16") != std::string::npos);
  const Dump outside(AppendCase(kGqaText, {{.pages = 1, .positions = {4}}}, Layout::nhd, 10), false, false);
  CHECK(said(outside).find("append_positions[0] is 4; allowed in request 0") != std::string::npos);
  Dump table = good;
  table.from.kv_indices.pop_back();
  table.tensors.at("kv_indices") = {"I32",
                                    {static_cast<std::int64_t>(table.from.kv_indices.size())},
                                    std::as_bytes(std::span(table.from.kv_indices))};
  CHECK(said(table).find("tensor kv_indices has ") != std::string::npos);
}

TEST_CASE("librt cache prewarm and compile know append_kv", "[append_kv]") {
  const Tool tool;
  const auto report = tool({"cache", "prewarm", "append_kv", "--arch", "compute_80", "--json"}).json();
  CHECK(report["failed"].empty());
  CHECK(report["compiled"] == 5);
  CHECK(tool({"cache", "prewarm", "append_kv", "--arch", "compute_80", "--json"}).json()["compiled"] == 0);
  CHECK(tool({"compile", "append_kv", "dtype=bf16", "head_dim=128", "page_size=16", "--arch", "compute_80", "--ptx"})
            .out.find("librt_append_kv") != std::string::npos);
  CHECK(tool({"prove", "append_kv", "dtype=bf16", "head_dim=128", "page_size=16"}).exit_code == 2);
}

}  // namespace librt::test

#endif
