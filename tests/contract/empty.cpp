// Requests without a visible position: O = 0, LSE = -inf, and always written.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <limits>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// decode() fills out and lse with NaN first and throws where something was not written.
void check_empty_rows(const Batch& batch, const Result& result) {
  for (std::size_t row = 0; row < result.lse.size(); ++row) {
    if (batch.kv_len(static_cast<int>(row) / batch.shape.qo_heads) > 0) continue;
    CHECK(result.lse[row] == kMinusInfinity);
    const auto dim = static_cast<std::size_t>(batch.shape.out_dim());
    for (std::size_t d = 0; d < dim; ++d) REQUIRE(result.out[row * dim + d] == 0);
  }
}

TEST_CASE("T14: requests without pages first, in the middle, last, alone and everywhere", "[empty]") {
  const std::vector<std::vector<int>> batches{{0, 13, 5}, {13, 0, 5}, {13, 5, 0}, {0, 0, 13, 0}, {0, 0, 0}, {0}};
  for (const Spec& spec : both(4)) {
    for (const std::vector<int>& kv_lens : batches) {
      for (const int split_pages : {0, 1}) {
        const Batch batch = fill_padding(
            make_batch(spec, {.kv_lens = kv_lens, .entries_before = 2, .entries_after = 3}), Poison::quiet_nan);
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        INFO(to_string(spec) << ", split_pages " << split_pages);
        check_empty_rows(batch, result);
        CHECK(difference(batch, result, expected_of(batch)) == "");
      }
    }
  }
}

TEST_CASE("T14: a batch without requests launches nothing", "[empty]") {
  for (const Spec& spec : both(4)) {
    const Batch batch = make_batch(spec, {.kv_lens = {}});
    CHECK(decode(shared_runtime(), batch).out.empty());
  }
}

TEST_CASE("T14: a request that has lost all its pages since it was planned is empty", "[empty]") {
  for (const Spec& spec : both(4)) {
    for (const int split_pages : {0, 2}) {
      const Batch planned = make_batch(spec, {.kv_lens = {22, 13}});
      Batch batch = planned;
      batch.kv_indptr = {0, 0, 4};
      batch.kv_indices.erase(batch.kv_indices.begin(), batch.kv_indices.begin() + 6);
      REQUIRE(batch.kv_len(0) == 0);
      batch = fill_padding(batch, Poison::quiet_nan);
      const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages, .planned_for = &planned});
      INFO(to_string(spec) << ", split_pages " << split_pages);
      check_empty_rows(batch, result);
      CHECK(difference(batch, result, expected_of(batch)) == "");
    }
  }
}

}  // namespace
}  // namespace librt::test
