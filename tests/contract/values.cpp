// Valid positions that hold extreme numbers, NaN or Inf: IEEE arithmetic decides, nothing is hidden.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"
#include "tests/support/logits.hpp"

namespace librt::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kWhole = 1 << 20;  // pages: no request is split
const std::vector<int> kSplits{kWhole, 2};

/// Checks the batch against the reference with poison in its padding, whole and in splits.
void check_values(Batch batch, const std::vector<int>& splits = kSplits) {
  const Expected expected = expected_of(batch);
  batch = fill_padding(std::move(batch), Poison::quiet_nan);
  for (const int split_pages : splits) {
    INFO(to_string(batch.spec) << ", split_pages " << split_pages);
    CHECK(difference(batch, decode(shared_runtime(), batch, {.split_pages = split_pages}), expected) == "");
  }
}

TEST_CASE("T16: logits far below any finite sentinel, and far above", "[values]") {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Spec& spec : both(16, dtype)) {
      for (const double logit : {-66855.0, -1e5 - 1, -5e4, 6e4, 1e5}) {
        INFO("all logits " << logit);
        Batch batch = make_batch(spec, {.kv_lens = {77, 16, 1}});
        for (int request = 0; request < batch.size(); ++request) set_logits(batch, request, [&](int) { return logit; });
        check_values(std::move(batch));
      }
    }
  }
}

// An LSE of this size has no digits left for the number of positions behind it: splits must not be weighed by it.
TEST_CASE("T16: logits near the end of fp32", "[values]") {
  const auto check_logits = [](const Spec& spec, double logit) {
    INFO("all logits " << logit);
    Batch batch = make_batch(spec, {.kv_lens = {77, 3}});
    batch.sm_scale = 1;  // the sum over the head dimension must stay finite too
    for (int request = 0; request < batch.size(); ++request) set_logits(batch, request, [&](int) { return logit; });
    check_values(std::move(batch), {kWhole, 2, 1});
  };
  for (const Spec& spec : both(16)) {
    for (const double logit : {-3e38, 3e38, -1e6, 1e6}) check_logits(spec, logit);
  }
  for (const Spec& spec : both(16, DType::f16)) {
    for (const double logit : {-1e6, 1e6}) check_logits(spec, logit);
  }
}

TEST_CASE("T16: one huge logit among small ones takes the whole weight", "[values]") {
  for (const Spec& spec : both(16)) {
    for (const int winner : {0, 40, 76}) {
      for (const auto& [high, low] : {std::pair{8e4, 0.0}, std::pair{0.0, -8e4}, std::pair{-8e4, -2e5}}) {
        INFO("logit " << high << " at position " << winner << ", " << low << " elsewhere");
        Batch batch = make_batch(spec, {.kv_lens = {77}});
        set_logits(batch, 0, [&](int position) { return position == winner ? high : low; });
        check_values(std::move(batch));
      }
    }
  }
}

TEST_CASE("T17: all logits of valid positions are -inf: an empty row", "[values]") {
  for (const Spec& spec : both(16)) {
    Batch batch = make_batch(spec, {.kv_lens = {77, 20, 5}});
    set_logits(batch, 0, [](int) { return -kInfinity; });
    const Result result = decode(shared_runtime(), fill_padding(batch, Poison::quiet_nan));
    INFO(to_string(spec));
    for (int head = 0; head < batch.shape.qo_heads; ++head) {
      CHECK(result.lse[static_cast<std::size_t>(head)] == -std::numeric_limits<float>::infinity());
    }
    check_values(std::move(batch));
  }
}

TEST_CASE("T17: an infinite query with negative keys: an empty row too", "[values]") {
  for (const Spec& spec : both(16)) {
    Batch batch = make_batch(spec, {.kv_lens = {77, 20}});
    set_logits(batch, 0, [](int) { return -1.0; });
    for (int head = 0; head < batch.shape.qo_heads; ++head) {
      batch.query(0, head, logit_dim(batch)) = batch.bits(kInfinity);
    }
    check_values(std::move(batch));
  }
}

TEST_CASE("T17: some logits are -inf: weight 0", "[values]") {
  for (const Spec& spec : both(16)) {
    Batch batch = make_batch(spec, {.kv_lens = {77, 40}});
    for (int request = 0; request < batch.size(); ++request) {
      set_logits(batch, request, [](int position) { return position < 35 ? -kInfinity : position % 3; });
    }
    check_values(std::move(batch));
  }
}

TEST_CASE("T17: -inf at the first or the last positions of an extreme row: splits without weight", "[values]") {
  for (const Spec& spec : both(16)) {
    for (const double logit : {-3e38, 3e38}) {
      for (const bool first : {true, false}) {
        INFO("logits " << logit << ", -inf at the " << (first ? "first" : "last") << " positions");
        Batch batch = make_batch(spec, {.kv_lens = {77}});
        batch.sm_scale = 1;
        set_logits(batch, 0, [&](int position) { return (position < 32) == first ? -kInfinity : logit; });
        check_values(std::move(batch), {kWhole, 2, 1});
      }
    }
  }
}

/// What is done to one valid number, by name.
struct Place {
  std::string name;
  Bits& (*number)(Batch& batch, int position);
};

std::vector<Place> places(const Spec& spec) {
  if (shape_of(spec).is_mla) {
    return {{"ckv", [](Batch& batch, int position) -> Bits& { return batch.key(0, position, 0, 5); }},
            {"kpe", [](Batch& batch, int position) -> Bits& { return batch.key(0, position, 0, 575); }},
            {"q_nope", [](Batch& batch, int) -> Bits& { return batch.query(0, 1, 300); }},
            {"q_pe", [](Batch& batch, int) -> Bits& { return batch.query(0, 2, 512); }}};
  }
  return {{"K", [](Batch& batch, int position) -> Bits& { return batch.key(0, position, 1, 5); }},
          {"V", [](Batch& batch, int position) -> Bits& { return batch.value(0, position, 1, 63); }},
          {"q", [](Batch& batch, int) -> Bits& { return batch.query(0, 1, 63); }}};
}

TEST_CASE("T18: a NaN at a valid position surfaces, in the rows that it reaches and in no other", "[values]") {
  for (const Spec& spec : both(16)) {
    for (const Place& place : places(spec)) {
      for (const int position : {0, 15, 40, 63, 64, 76}) {
        for (const Bits nan :
             {special_bits(DType::bf16).quiet_nan, special_bits(DType::bf16).signalling_nan, Bits{0xffff}}) {
          INFO(place.name << ", position " << position << ", NaN " << nan);
          Batch batch = make_batch(spec, {.kv_lens = {77, 20, 0}});
          place.number(batch, position) = nan;
          check_values(std::move(batch));
        }
      }
    }
  }
}

TEST_CASE("T18: a NaN in V leaves the LSE alone, a NaN in K or q does not", "[values]") {
  const auto lse_is_nan = [](const Spec& spec, const Place& place) {
    Batch batch = make_batch(spec, {.kv_lens = {77}});
    place.number(batch, 76) = batch.bits(kNan);
    const Result result = decode(shared_runtime(), batch);
    int rows = 0;
    for (const float lse : result.lse) rows += std::isnan(lse) ? 1 : 0;
    return rows;
  };
  const Spec gqa_spec = gqa(16);
  CHECK(lse_is_nan(gqa_spec, places(gqa_spec)[0]) == 2);  // K: the two heads of its group
  CHECK(lse_is_nan(gqa_spec, places(gqa_spec)[1]) == 0);  // V
  CHECK(lse_is_nan(gqa_spec, places(gqa_spec)[2]) == 1);  // q: its own row
  const Spec mla_spec = mla(16);
  CHECK(lse_is_nan(mla_spec, places(mla_spec)[0]) == 3);  // ckv is a key too
  CHECK(lse_is_nan(mla_spec, places(mla_spec)[1]) == 3);
  CHECK(lse_is_nan(mla_spec, places(mla_spec)[2]) == 1);
  CHECK(lse_is_nan(mla_spec, places(mla_spec)[3]) == 1);
}

TEST_CASE("T18: a NaN at a valid position with weight 0 surfaces as well", "[values]") {
  Batch batch = make_batch(gqa(16), {.kv_lens = {77}});
  set_logits(batch, 0, [](int position) { return position == 40 ? -1e4 : 0.0; });
  batch.value(0, 40, 0, 3) = batch.bits(kNan);
  CHECK(std::isnan(batch.number(decode(shared_runtime(), batch).out[3])));
  check_values(std::move(batch));
}

TEST_CASE("T18: a NaN or Inf in V surfaces where every logit of its split is -inf", "[values]") {
  for (const double value : {kNan, kInfinity, -kInfinity}) {
    for (const auto& [position, in_all] : {std::pair{5, false}, std::pair{76, false}, std::pair{5, true}}) {
      INFO(value << " at position " << position << (in_all ? ", all logits -inf" : ""));
      Batch batch = make_batch(gqa(16), {.kv_lens = {77, 20}});
      // By splits of two pages, the first and the last are without weight.
      set_logits(batch, 0, [all = in_all](int at) { return all || at < 32 || at >= 64 ? -kInfinity : at % 3; });
      batch.value(0, position, 1, 7) = batch.bits(value);
      const Result result = decode(shared_runtime(), batch, {.split_pages = 2});
      CHECK(std::isnan(batch.number(result.out[2 * 64 + 7])));
      CHECK(std::isfinite(batch.number(result.out[2 * 64 + 6])));
      check_values(std::move(batch), {kWhole, 2, 1});
    }
  }
}

TEST_CASE("T18: a split in which every logit is NaN", "[values]") {
  for (const Spec& spec : both(16)) {
    for (const int first : {0, 32, 64}) {
      INFO("NaN from position " << first);
      Batch batch = make_batch(spec, {.kv_lens = {77, 20}});
      for (int position = first; position < std::min(first + 32, 77); ++position) {
        batch.key(0, position, 0, logit_dim(batch)) = batch.bits(kNan);
      }
      check_values(std::move(batch), {kWhole, 2, 1});
    }
  }
}

TEST_CASE("T19: splits of values whose sum fp32 cannot hold", "[values]") {
  Batch batch = make_batch(gqa(16), {.kv_lens = {77}});
  set_logits(batch, 0, [](int position) { return position % 2; });
  for (int position = 0; position < 77; ++position) {
    for (int d = 0; d < 64; ++d) batch.value(0, position, 0, d) = batch.bits(d % 2 == 0 ? 1e37 : -1e37);
  }
  check_values(std::move(batch), {kWhole, 3, 2, 1});
}

TEST_CASE("T19: an Inf at a valid position of V is never a finite number in the output", "[values]") {
  for (const double infinity : {kInfinity, -kInfinity}) {
    for (const double logit : {0.0, -20.0, -90.0, -200.0}) {  // the weight becomes tiny, then underflows
      INFO("V = " << infinity << " at a position with logit " << logit << ", 0 elsewhere");
      Batch batch = make_batch(gqa(16), {.kv_lens = {77}});
      set_logits(batch, 0, [&](int position) { return position == 40 ? logit : 0.0; });
      batch.value(0, 40, 1, 7) = batch.bits(infinity);
      for (const int split_pages : kSplits) {
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        for (const int head : {2, 3}) {
          CHECK_FALSE(std::isfinite(batch.number(result.out[static_cast<std::size_t>(head * 64 + 7)])));
        }
      }
      check_values(std::move(batch));
    }
  }
}

TEST_CASE("T19: +Inf and -Inf in one column of V give NaN", "[values]") {
  Batch batch = make_batch(gqa(16), {.kv_lens = {77}});
  batch.value(0, 3, 0, 7) = batch.bits(kInfinity);
  batch.value(0, 70, 0, 7) = batch.bits(-kInfinity);
  check_values(std::move(batch));
}

TEST_CASE("T19: an Inf in K is a logit of +inf, -inf or NaN, by the sign of q", "[values]") {
  for (const Spec& spec : both(16)) {
    for (const double infinity : {kInfinity, -kInfinity}) {
      for (const double query : {1.0, -1.0, 0.0}) {
        INFO("K = " << infinity << ", q = " << query);
        Batch batch = make_batch(spec, {.kv_lens = {77, 20}});
        batch.key(0, 40, 0, logit_dim(batch)) = batch.bits(infinity);
        for (int head = 0; head < batch.shape.qo_heads; ++head) {
          batch.query(0, head, logit_dim(batch)) = batch.bits(query);
        }
        check_values(std::move(batch));
      }
    }
  }
}

TEST_CASE("T28: denormal numbers at valid positions count", "[values]") {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    Batch batch = make_batch(gqa(16, dtype), {.kv_lens = {77}});
    for (int position = 0; position < 77; ++position) {
      for (int d = 0; d < 64; ++d) batch.value(0, position, 0, d) = static_cast<Bits>(1 + (position + d) % 5);
    }
    const Result result = decode(shared_runtime(), batch);
    CHECK(batch.number(result.out[0]) > 0);
    const double ulp = batch.number(1);
    const Expected expected = expected_of(batch);
    for (std::size_t d = 0; d < 64; ++d) CHECK(std::fabs(batch.number(result.out[d]) - expected.out[d]) <= 0.6 * ulp);
  }
}

}  // namespace
}  // namespace librt::test
