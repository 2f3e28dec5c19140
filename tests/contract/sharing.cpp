// Requests beside each other in one pool: what one of them owns is padding to the others.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <limits>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

bool same_bits(const Batch& batch, const Result& one, const Result& other) {
  return bit_difference(batch, one, other).empty();
}

TEST_CASE("T12: other requests' pages are padding, and the order of requests does not matter", "[sharing]") {
  for (const Spec& spec : both(4)) {
    INFO(to_string(spec));
    const Batch batch = make_batch(spec, {.kv_lens = {13, 70, 0, 6}});
    const Result together = decode(shared_runtime(), batch, {.split_pages = 3});
    REQUIRE(difference(batch, together, expected_of(batch)) == "");
    for (int request = 0; request < batch.size(); ++request) {
      // Alone, all pages of the other requests hold NaN.
      const Batch alone = fill_padding(pick(batch, {request}), Poison::quiet_nan);
      CHECK(same_bits(alone, rows_of(batch, together, request), decode(shared_runtime(), alone, {.split_pages = 3})));
    }
    const std::vector<int> order{3, 1, 0, 2};
    const Batch swapped = pick(batch, order);
    const Result result = decode(shared_runtime(), swapped, {.split_pages = 3});
    for (int i = 0; i < swapped.size(); ++i) {
      CHECK(same_bits(pick(batch, {0}), rows_of(swapped, result, i),
                      rows_of(batch, together, order[static_cast<std::size_t>(i)])));
    }
  }
}

TEST_CASE("Table entries that no request owns may hold anything", "[sharing]") {
  for (const Spec& spec : both(4)) {
    const Batch tight = make_batch(spec, {.kv_lens = {13, 0, 66}});
    const Result expected = decode(shared_runtime(), tight);
    for (const std::int32_t junk : {-1, 2147480000, std::numeric_limits<std::int32_t>::max(),
                                    std::numeric_limits<std::int32_t>::min(), tight.first.num_pages}) {
      Batch batch = tight;
      batch.kv_indices.insert(batch.kv_indices.begin(), 3, junk);
      batch.kv_indices.insert(batch.kv_indices.end(), 5, junk);
      for (std::int32_t& offset : batch.kv_indptr) offset += 3;
      INFO(to_string(spec) << ", entries " << junk);
      CHECK(bit_difference(tight, expected, decode(shared_runtime(), batch)) == "");
    }
  }
}

TEST_CASE("T13: a page that is full for one request and a tail for another", "[sharing]") {
  for (const Spec& spec : both(8)) {
    INFO(to_string(spec));
    // All requests share their first three pages: the third is full for request 0, holds 5 positions of request 1 and 1
    // of request 2.
    const Batch batch = make_batch(spec, {.kv_lens = {30, 21, 17}, .shared_pages = 3});
    REQUIRE(batch.pages(0)[2] == batch.pages(1)[2]);
    CHECK(poison_difference(shared_runtime(), batch) == "");

    // Request 0's tokens behind request 1's end become NaN and Inf: valid there, padding here.
    const Result before = decode(shared_runtime(), batch);
    for (const double number : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
      Batch changed = batch;
      for (int position = 21; position < 24; ++position) {
        for (int head = 0; head < batch.shape.kv_heads; ++head) {
          for (int d = 0; d < batch.shape.out_dim(); ++d) {
            changed.key(0, position, head, d) = batch.bits(number);
            changed.value(0, position, head, d) = batch.bits(number);
          }
        }
      }
      const Result after = decode(shared_runtime(), changed);
      CHECK(same_bits(pick(batch, {0}), rows_of(batch, before, 1), rows_of(batch, after, 1)));
      CHECK(same_bits(pick(batch, {0}), rows_of(batch, before, 2), rows_of(batch, after, 2)));
      CHECK(difference(changed, after, expected_of(changed)) == "");
    }
  }
}

TEST_CASE("T13: a page that appears several times in one request", "[sharing]") {
  for (const Spec& spec : both(4)) {
    INFO(to_string(spec));
    Batch batch = make_batch(spec, {.kv_lens = {18}, .permuted = false});
    // Twice in full, and once more as the last page, of which two positions count.
    batch.kv_indices[1] = batch.kv_indices[0];
    batch.kv_indices[4] = batch.kv_indices[0];
    CHECK(poison_difference(shared_runtime(), batch) == "");
  }
}

}  // namespace
}  // namespace librt::test
