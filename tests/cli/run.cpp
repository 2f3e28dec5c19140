// librt run: right results, and the same bits whatever the padding holds.
#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "tests/cli/batch.hpp"
#include "tests/cli/process.hpp"

using librt::DType;
using librt::test::Batch;
using librt::test::BatchShape;
using librt::test::FileContents;
using librt::test::Finished;
using librt::test::Output;

namespace {

/// Runs the tool on a file and reads what it wrote.
Output run(const FileContents& file, const std::vector<std::string>& more = {}) {
  const auto& tool = librt::test::shared_tool();
  const std::string in = tool.file("in.safetensors");
  const std::string out = tool.file("out.safetensors");
  std::filesystem::remove(out);
  file.write(in);
  std::vector<std::string> words{"run", in, "-o", out, "--device", "virtual"};
  words.insert(words.end(), more.begin(), more.end());
  const Finished finished = tool(words);
  INFO(finished.err);
  REQUIRE(finished.exit_code == 0);
  CHECK(finished.out.empty());
  return librt::test::read_output(out);
}

/// The promise of accuracy: of the row's largest value.
void check_close(const Batch& batch, const Output& output) {
  const Batch::Answer answer = batch.reference();
  const auto dim = static_cast<std::size_t>(batch.shape.key_dim);
  REQUIRE(output.out.size() == answer.out.size());
  REQUIRE(output.lse.size() == answer.lse.size());
  const double allowed = batch.shape.dtype == DType::bf16 ? 2e-2 : 3e-3;
  for (std::size_t row = 0; row < answer.lse.size(); ++row) {
    double largest = 0;
    double error = 0;
    for (std::size_t i = row * dim; i < (row + 1) * dim; ++i) {
      largest = std::max(largest, std::abs(answer.out[i]));
      error = std::isnan(output.out[i]) ? std::numeric_limits<double>::infinity()
                                        : std::max(error, std::abs(output.out[i] - answer.out[i]));
    }
    CAPTURE(row);
    CHECK(error <= allowed * largest);
    if (std::isinf(answer.lse[row])) {
      CHECK(output.lse[row] == answer.lse[row]);
    } else {
      CHECK(std::abs(output.lse[row] - answer.lse[row]) <= 1e-3 * std::max(1.0, std::abs(answer.lse[row])));
    }
  }
}

std::function<std::uint16_t()> always(std::uint16_t bits) {
  return [bits] { return bits; };
}

const std::vector<int> kLengths{13, 0, 1, 4, 37, 0, 8};

}  // namespace

TEST_CASE("cli run: results and padding, for both kernels, types and layouts", "[cli]") {
  const auto shape = GENERATE(0, 1, 2, 3);
  CAPTURE(shape);
  BatchShape batch_shape = shape == 3 ? librt::test::mla_shape() : librt::test::gqa_shape();
  if (shape == 1) batch_shape.dtype = DType::f16;
  batch_shape.hnd = shape == 2;
  Batch batch(batch_shape, kLengths, 7);
  batch.fill_padding(always(0));
  const Output clean = run(batch.file());
  CHECK(clean.dtype == (batch_shape.dtype == DType::bf16 ? "BF16" : "F16"));
  CHECK(clean.shape == std::vector<std::int64_t>{7, batch_shape.heads, batch_shape.key_dim});
  CHECK(clean.metadata.at("kernel") == (batch_shape.mla ? "mla_decode" : "gqa_decode"));
  check_close(batch, clean);

  const std::uint16_t infinity = batch_shape.dtype == DType::bf16 ? 0x7f80 : 0x7c00;
  for (const std::uint16_t poison : {std::uint16_t{0x7fff}, static_cast<std::uint16_t>(infinity + 1), infinity,
                                     static_cast<std::uint16_t>(infinity - 1), std::uint16_t{0xffff}}) {
    CAPTURE(poison);
    batch.fill_padding(always(poison));
    CHECK(run(batch.file()).bits == clean.bits);
  }
  std::mt19937 random(1);
  batch.fill_padding([&] { return static_cast<std::uint16_t>(random()); });
  CHECK(run(batch.file()).bits == clean.bits);

  const Output split = run(batch.file(), {"--split-pages", "2"});
  check_close(batch, split);
  batch.fill_padding(always(0x7fff));
  CHECK(run(batch.file(), {"--split-pages", "2"}).bits == split.bits);
}

TEST_CASE("cli run: entries that no request owns and lengths of empty requests may be anything", "[cli]") {
  Batch batch(librt::test::gqa_shape(), kLengths, 8);
  const Output expected = run(batch.file());

  constexpr std::int32_t kMin = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();
  std::vector<std::int32_t> indices{-1, kMax, kMin};  // before the first request's pages
  indices.insert(indices.end(), batch.kv_indices.begin(), batch.kv_indices.end());
  indices.insert(indices.end(), {kMin, 1 << 30});  // after the last one's
  std::vector<std::int32_t> indptr = batch.kv_indptr;
  for (std::int32_t& entry : indptr) entry += 3;
  for (const std::int32_t length : {0, -1, kMin, kMax, 5}) {
    CAPTURE(length);
    FileContents file = batch.file();
    file.set_integers("kv_indptr", indptr);
    file.set_integers("kv_indices", indices);
    std::vector<std::int32_t> last = batch.kv_last_page_len;
    last[1] = last[5] = length;
    file.set_integers("kv_last_page_len", last);
    CHECK(run(file).bits == expected.bits);
  }
}

TEST_CASE("cli run: what changes nothing is accepted", "[cli]") {
  Batch batch(librt::test::gqa_shape(), {5, 2}, 9);
  const Output expected = run(batch.file());
  FileContents file = batch.file();
  file.metadata["causal"] = "True";
  file.metadata["window_left"] = "-1";
  file.metadata["logits_soft_cap"] = "0.0";
  file.metadata["kv_layout"] = "NHD";
  file.metadata["note"] = "anything";
  file.set_integers("qo_indptr", {0, 1, 2});
  file.set_integers("another_tensor", {1, 2, 3});
  CHECK(run(file).bits == expected.bits);
}

TEST_CASE("cli run: batches with nothing in them", "[cli]") {
  Batch nothing(librt::test::gqa_shape(), {}, 10);
  CHECK(run(nothing.file()).shape == std::vector<std::int64_t>{0, 8, 64});

  BatchShape no_pages = librt::test::gqa_shape();
  no_pages.num_pages = 0;
  Batch empty(no_pages, {0, 0}, 11);
  const Output output = run(empty.file());
  for (const double value : output.out) CHECK(value == 0);
  for (const double value : output.lse) CHECK(value == -std::numeric_limits<double>::infinity());
}

TEST_CASE("cli run: the device is the option's, else the environment's, else what there is", "[cli]") {
  const auto& tool = librt::test::shared_tool();
  const std::string in = tool.file("device.safetensors");
  const std::string out = tool.file("device_out.safetensors");
  Batch(librt::test::gqa_shape(), {3}, 12).file().write(in);
  const auto device = [&](std::vector<std::string> words, const librt::test::Variables& variables) {
    words.insert(words.begin(), {"run", in, "-o", out, "--json"});
    const Finished finished = tool(words, variables);
    INFO(finished.err);
    REQUIRE(finished.exit_code == 0);
    const std::string name = finished.json()["device"];
    CHECK_THAT(finished.err, Catch::Contains(name));
    return name;
  };
  CHECK(device({"--device", "virtual"}, {{"LIBRT_DEVICE", "cuda:99"}}) == "virtual:sm_80");
  CHECK(device({}, {{"LIBRT_DEVICE", "virtual:sm_90"}}) == "virtual:sm_90");
  CHECK(device({}, {{"CUDA_VISIBLE_DEVICES", ""}}) == "virtual:sm_80");
  CHECK(device({"--device", "auto"}, {{"CUDA_VISIBLE_DEVICES", ""}}) == "virtual:sm_80");

  CHECK(tool({"run", in, "-o", out, "--device", "cuda:99"}).exit_code == 3);
  CHECK(tool({"run", in, "-o", out}, {{"LIBRT_DEVICE", "cuda:99"}}).exit_code == 3);
  CHECK(tool({"run", in, "-o", out, "--device", "toaster"}).exit_code == 2);
}
