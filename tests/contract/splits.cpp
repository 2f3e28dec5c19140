// Splits decide how the work is cut, never what comes out.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

/// The largest difference between two results, in units in the last place of each row's largest number.
double distance_in_ulps(const Batch& batch, const Result& one, const Result& other) {
  const double ulp = batch.shape.dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;
  const auto dim = static_cast<std::size_t>(batch.shape.out_dim());
  double distance = 0;
  for (std::size_t row = 0; row < one.lse.size(); ++row) {
    double largest = 0;
    double difference = 0;
    for (std::size_t i = row * dim; i < (row + 1) * dim; ++i) {
      largest = std::max(largest, std::fabs(batch.number(one.out[i])));
      difference = std::max(difference, std::fabs(batch.number(one.out[i]) - batch.number(other.out[i])));
    }
    if (difference > 0) distance = std::max(distance, difference / (largest * ulp));
  }
  return distance;
}

TEST_CASE("T20: every split_pages gives the same result, with poison behind the end", "[splits]") {
  struct Case {
    int page_size, kv_len;
  };
  for (const auto& [page_size, kv_len] : {Case{4, 70}, Case{16, 201}, Case{1, 37}}) {
    for (const Spec& spec : both(page_size)) {
      const Batch batch = make_batch(spec, {.kv_lens = {kv_len, page_size + 1}});
      const Batch poisoned = fill_padding(batch, Poison::quiet_nan);
      const Expected expected = expected_of(batch);
      const int num_pages = static_cast<int>(batch.pages(0).size());
      const Result whole = decode(shared_runtime(), batch, {.split_pages = num_pages});
      CHECK(difference(batch, whole, expected) == "");
      for (int split_pages = 1; split_pages <= num_pages + 1; ++split_pages) {
        INFO(to_string(spec) << ", kv_len " << kv_len << ", split_pages " << split_pages);
        const Result split = decode(shared_runtime(), poisoned, {.split_pages = split_pages});
        CHECK(difference(batch, split, expected) == "");
        CHECK(distance_in_ulps(batch, whole, split) <= 2);
        for (std::size_t row = 0; row < whole.lse.size(); ++row) {
          CHECK(split.lse[row] == Approx(whole.lse[row]).epsilon(1e-5).margin(1e-5));
        }
        // Clean padding gives the same bits, split by split.
        if (split_pages % 3 == 1) {
          CHECK(bit_difference(batch, split, decode(shared_runtime(), batch, {.split_pages = split_pages})) == "");
        }
      }
    }
  }
}

TEST_CASE("T20: the planner's choice is one of them", "[splits]") {
  for (const Spec& spec : both(4)) {
    const Batch batch = make_batch(spec, {.kv_lens = {301, 13}});
    const Kernel kernel = shared_runtime().get(spec);
    const Plan plan = kernel.plan({batch.kv_indptr, batch.kv_last_page_len});
    REQUIRE(plan.split_pages() >= 1);
    const Result chosen = decode(shared_runtime(), batch);
    CHECK(difference(batch, chosen, expected_of(batch)) == "");
    CHECK(bit_difference(batch, chosen, decode(shared_runtime(), batch, {.split_pages = plan.split_pages()})) == "");
  }
}

TEST_CASE("T20: requests that have become shorter than planned: empty and shortened splits", "[splits]") {
  for (const Spec& spec : both(4)) {
    const Batch planned = make_batch(spec, {.kv_lens = {75, 40, 9}});
    for (const int split_pages : {0, 1, 3, 7}) {
      for (const std::vector<int>& kv_lens : {std::vector{1, 40, 9}, std::vector{13, 3, 8}, std::vector{74, 39, 0}}) {
        const Batch batch = fill_padding(make_batch(spec, {.kv_lens = kv_lens, .seed = 5}), Poison::quiet_nan);
        INFO(to_string(spec) << ", split_pages " << split_pages << ", first request " << kv_lens[0]);
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages, .planned_for = &planned});
        CHECK(difference(batch, result, expected_of(batch)) == "");
      }
    }
  }
}

TEST_CASE("T20: requests that have become longer than planned lose no token", "[splits]") {
  for (const Spec& spec : both(4)) {
    const Batch planned = make_batch(spec, {.kv_lens = {6, 13, 0, 8}});
    for (const int split_pages : {0, 1, 2}) {
      // By tokens of the last page, by pages, from nothing, and past several splits; some shorter at the same time.
      for (const std::vector<int>& kv_lens :
           {std::vector{7, 14, 1, 8}, std::vector{31, 30, 17, 9}, std::vector{5, 200, 0, 3}}) {
        const Batch batch = fill_padding(make_batch(spec, {.kv_lens = kv_lens, .seed = 9}), Poison::quiet_nan);
        INFO(to_string(spec) << ", split_pages " << split_pages << ", first request " << kv_lens[0]);
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages, .planned_for = &planned});
        CHECK(difference(batch, result, expected_of(batch)) == "");
      }
    }
  }
}

TEST_CASE("T20: a plan without any page reads none, whatever the device's lengths say", "[splits]") {
  for (const Spec& spec : both(4)) {
    const Batch planned = make_batch(spec, {.kv_lens = {0, 0}});
    const Batch batch = make_batch(spec, {.kv_lens = {6, 13}});
    const Result result = decode(shared_runtime(), batch, {.planned_for = &planned});
    CHECK(std::ranges::all_of(result.lse, [](float lse) { return lse == -std::numeric_limits<float>::infinity(); }));
  }
}

TEST_CASE("Batch independence: with a fixed split_pages a request has the same bits in every batch", "[splits]") {
  for (const Spec& spec : both(4)) {
    const Recipe recipe{.kv_lens = {61}, .unowned_pages = 0};
    const Batch alone = make_batch(spec, recipe);
    const auto rows = static_cast<std::ptrdiff_t>(alone.shape.qo_heads);
    for (const int split_pages : {1, 2, 5, 16}) {
      const Result expected = decode(shared_runtime(), alone, {.split_pages = split_pages});
      for (const int place : {0, 2, 4}) {
        std::vector<int> kv_lens{90, 0, 7, 13};
        kv_lens.insert(kv_lens.begin() + place, 61);
        Batch batch = make_batch(spec, {.kv_lens = kv_lens, .seed = 77, .entries_before = 2});
        // The same numbers, in other pages.
        for (int position = 0; position < 61; ++position) {
          for (int head = 0; head < alone.shape.kv_heads; ++head) {
            Batch source = alone;
            for (int d = 0; d < alone.shape.first_dim + alone.shape.q_pe_dim(); ++d) {
              batch.key(place, position, head, d) = source.key(0, position, head, d);
            }
            for (int d = 0; d < alone.shape.out_dim(); ++d) {
              batch.value(place, position, head, d) = source.value(0, position, head, d);
            }
          }
        }
        std::ranges::copy(alone.q, batch.q.begin() + place * rows * alone.shape.first_dim);
        std::ranges::copy(alone.q_pe, batch.q_pe.begin() + place * rows * alone.shape.q_pe_dim());
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        const auto first = place * rows;
        const Result own{.out = {result.out.begin() + first * alone.shape.out_dim(),
                                 result.out.begin() + (first + rows) * alone.shape.out_dim()},
                         .lse = {result.lse.begin() + first, result.lse.begin() + first + rows}};
        INFO(to_string(spec) << ", split_pages " << split_pages << ", place " << place);
        CHECK(bit_difference(alone, expected, own) == "");
      }
    }
  }
}

TEST_CASE("The same plan gives the same bits, whatever the number of host threads", "[splits]") {
  for (const Spec& spec : both(4)) {
    const Batch batch = make_batch(spec, {.kv_lens = {75, 0, 13}});
    const Result expected = decode(shared_runtime(), batch, {.split_pages = 3});
    for (const unsigned threads : {1U, 3U}) {
      Options options = virtual_options();
      options.virtual_threads = threads;
      Runtime runtime(options);
      for (int run = 0; run < 3; ++run) {
        CHECK(bit_difference(batch, expected, decode(runtime, batch, {.split_pages = 3})) == "");
      }
    }
  }
}

}  // namespace
}  // namespace librt::test
