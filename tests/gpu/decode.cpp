// What only a GPU can show: the compiled kernels keep the promise there too, and give what the virtual device gives.
#include "tests/support/decode.hpp"

#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "tests/support/reference.hpp"

namespace librt::test {

namespace {

struct Case {
  std::string spec;
  std::vector<int> kv_lens;
  int split_pages = 0;
  Layout layout = Layout::nhd;

  Batch batch() const {
    return make_batch(parse_spec(spec),
                      {.kv_lens = kv_lens, .layout = layout, .entries_before = 3, .entries_after = 2});
  }
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"gqa_decode dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16", {13, 0, 200, 64}},
      {"gqa_decode dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16", {13, 0, 200, 64}, 3},
      {"gqa_decode dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16", {13, 77}, 0, Layout::hnd},
      {"gqa_decode dtype=f16 num_qo_heads=8 num_kv_heads=8 head_dim=64 page_size=1", {1, 77}},
      {"gqa_decode dtype=bf16 num_qo_heads=16 num_kv_heads=1 head_dim=80 page_size=4", {13, 65}},
      {"gqa_decode dtype=f16 num_qo_heads=12 num_kv_heads=4 head_dim=96 page_size=7", {50, 3}, 0, Layout::padded},
      {"gqa_decode dtype=bf16 num_qo_heads=4 num_kv_heads=2 head_dim=192 page_size=32", {33, 128}},
      {"gqa_decode dtype=f16 num_qo_heads=8 num_kv_heads=2 head_dim=256 page_size=64", {100, 5}, 1},
      {"mla_decode dtype=bf16 num_heads=16 page_size=64", {13, 0, 130}},
      {"mla_decode dtype=bf16 num_heads=16 page_size=4", {13, 61}, 2},
      {"mla_decode dtype=f16 num_heads=128 page_size=64", {70, 64}},
      {"mla_decode dtype=bf16 num_heads=1 page_size=1", {9, 33}, 0, Layout::padded},
  };
  return all;
}

std::string describe(const Case& test) {
  return test.spec + " split_pages=" + std::to_string(test.split_pages);
}

Runtime make_runtime(const std::string& device) {
  Options options = Options::from_env();
  options.device = device;
  return Runtime(std::move(options));
}

Expected as_expected(const Batch& batch, const Result& result) {
  Expected expected;
  for (const Bits bits : result.out) expected.out.push_back(batch.number(bits));
  expected.lse.assign(result.lse.begin(), result.lse.end());
  return expected;
}

}  // namespace

TEST_CASE("decode on a GPU is right, whatever the padding holds", "[gpu]") {
  Runtime gpu = make_runtime("cuda:0");
  for (const Case& test : cases()) {
    INFO(describe(test));
    CHECK(poison_difference(gpu, test.batch(), {.split_pages = test.split_pages}) == "");
  }
}

TEST_CASE("a GPU gives what the virtual device gives", "[gpu]") {
  Runtime gpu = make_runtime("cuda:0");
  Runtime virtual_device = make_runtime("virtual");
  for (const Case& test : cases()) {
    INFO(describe(test));
    const Batch batch = test.batch();
    // Tile sizes and, unless they are fixed, splits may differ between the two, and with them the rounding.
    const Result expected = decode(virtual_device, batch, {.split_pages = test.split_pages});
    CHECK(difference(batch, decode(gpu, batch, {.split_pages = test.split_pages}), as_expected(batch, expected)) == "");
  }
}

TEST_CASE("the same plan gives the same bits on a GPU", "[gpu]") {
  Runtime gpu = make_runtime("cuda:0");
  for (const Case& test : cases()) {
    INFO(describe(test));
    const Batch batch = test.batch();
    const Result first = decode(gpu, batch, {.split_pages = test.split_pages});
    const Result second = decode(gpu, batch, {.split_pages = test.split_pages});
    CHECK(bit_difference(batch, first, second) == "");
  }
}

}  // namespace librt::test
