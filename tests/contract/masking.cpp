// The masking as such: what the kernel computes for padding positions, before it is summed up.
//
// An edit adds stores to the kernel's text, right behind the line that turns logits into weights. They show, for every
// position of a tile and every head, the very numbers that the kernel goes on with: the logit that went into the
// maximum, the weight that was added to the sum, the 16-bit weight that is multiplied with V, and how many words of the
// position's V row in shared memory are not zero. The edited kernel's out and LSE have the bits of the shipped one, so
// that what is seen is what happens.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <bit>
#include <cmath>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

/// Positions that the probe has room for, in each head.
constexpr int kProbePositions = 256;
constexpr int kWhole = 1 << 20;  // pages: no request is split

struct Seen {
  float logit, weight, operand, value_words;
};

constexpr std::size_t kSeenFloats = sizeof(Seen) / sizeof(float);

const std::vector<SourceEdit> kGqaProbe{
    {"gqa_decode/gqa_decode.cuh", "take_weights<Traits>(state, weights, logits);", R"(
      take_weights<Traits>(state, weights, logits);
      for (int n = 0; n < 2; ++n) {
        for (int i = 0; i < 4; ++i) {
          const int row = lane / 4 + i / 2 * 8;
          if (row >= group || column_warp != 0) continue;
          const int at = position + n * 8 + i % 2;
          const unsigned pair = weights[2 * n + i / 2];
          const unsigned* const value = reinterpret_cast<const unsigned*>(
              shared + Traits::kStagesAt + stage * Traits::kStageBytes + Traits::kTileBytes +
              at % Traits::kTileTokens * Traits::kPitch);
          int words = 0;
          for (int word = 0; word < Traits::kHeadDim / 2; ++word) words += value[word] != 0;
          float* const to = params.lse + params.num_qo_heads + ((first_head + row) * 256 + at) * 4;
          to[0] = logits[n][i];
          to[1] = weight(logits[n][i], lowest_finite(state.max[i / 2]), state.exponent);
          to[2] = i % 2 == 0 ? Traits::Elem::low(pair) : Traits::Elem::high(pair);
          to[3] = words;
        }
      })"}};

const std::vector<SourceEdit> kMlaProbe{
    {"mla_decode/mla_decode.cuh", "float sm_scale, bool ends_here,",
     "float sm_scale, bool ends_here, float* probe, int stage, int heads,"},
    {"mla_decode/mla_decode.cuh", "write_weights<Traits>(state, shared, params.sm_scale, tile == tiles.count - 1,",
     "write_weights<Traits>(state, shared, params.sm_scale, tile == tiles.count - 1, "
     "params.lse + params.num_heads + first_head * 256 * 4, stage, heads,"},
    {"mla_decode/mla_decode.cuh",
     "if (threadIdx.x % Traits::kRowLanes == 0) reinterpret_cast<float*>(shared + Traits::kFactorsAt)[row] = factor;",
     R"(
  if (threadIdx.x % Traits::kRowLanes == 0) reinterpret_cast<float*>(shared + Traits::kFactorsAt)[row] = factor;
  if (row < heads) {
    for (int i = 0; i < Traits::kLaneTokens; ++i) {
      const int token = first_token + i;
      const unsigned pair = *reinterpret_cast<const unsigned*>(row_scores + 2 * (token - token % 2));
      const unsigned* const value = reinterpret_cast<const unsigned*>(
          shared + Traits::kTilesAt + stage * Traits::kTileBytes + token * Traits::kPitch);
      int words = 0;
      for (int word = 0; word < Traits::kCkv / 2; ++word) words += value[word] != 0;
      float* const to = probe + (row * 256 + first_position + token) * 4;
      to[0] = logits[i];
      to[1] = weight(logits[i], reference, state.exponent);
      to[2] = token % 2 == 0 ? Elem::low(pair) : Elem::high(pair);
      to[3] = words;
    }
  })"}};

Runtime edited_runtime(std::vector<SourceEdit> edits) {
  Options options = virtual_options();
  options.source_edits = std::move(edits);
  return Runtime(options);
}

Launch with_probe(const Batch& batch) {
  const auto positions = static_cast<std::size_t>(batch.shape.qo_heads * kProbePositions);
  return {.split_pages = kWhole, .probe_floats = positions * kSeenFloats};
}

Seen seen_at(const Result& result, int head, int position) {
  const auto at = static_cast<std::size_t>(head * kProbePositions + position) * kSeenFloats;
  return {result.probe[at], result.probe[at + 1], result.probe[at + 2], result.probe[at + 3]};
}

std::uint32_t bits_of(float number) {
  return std::bit_cast<std::uint32_t>(number);
}

void check_masking(const Spec& spec, const std::vector<SourceEdit>& probe, int kv_len, int computed_positions) {
  INFO(to_string(spec) << ", kv_len " << kv_len);
  const Batch batch = fill_padding(make_batch(spec, {.kv_lens = {kv_len}}), Poison::quiet_nan);
  Runtime edited = edited_runtime(probe);
  const Result result = decode(edited, batch, with_probe(batch));
  REQUIRE(bit_difference(batch, result, decode(shared_runtime(), batch, {.split_pages = kWhole})) == "");

  for (int head = 0; head < batch.shape.qo_heads; ++head) {
    const std::vector<double> weights = softmax_weights(batch, 0, head);
    const double lse = static_cast<double>(result.lse[static_cast<std::size_t>(head)]);
    for (int position = 0; position < computed_positions; ++position) {
      INFO("head " << head << ", position " << position);
      const Seen seen = seen_at(result, head, position);
      if (position < kv_len) {
        // The probe is where it should be: these are the logits of the reference.
        REQUIRE(std::exp(static_cast<double>(seen.logit) - lse) ==
                Approx(weights[static_cast<std::size_t>(position)]).epsilon(2e-3));
        REQUIRE(seen.weight > 0);
        REQUIRE(seen.operand == Approx(seen.weight).epsilon(1e-2));
        REQUIRE(seen.value_words > 0);
      } else {
        REQUIRE(bits_of(seen.logit) == 0xff800000);  // -inf, not NaN and no finite number
        REQUIRE(bits_of(seen.weight) == 0);          // exactly +0 in the sum
        REQUIRE(bits_of(seen.operand) == 0);         // and where it meets V
        REQUIRE(seen.value_words == 0);              // whose row holds nothing
      }
    }
    // Nothing else was computed: the room behind the last tile is untouched.
    if (computed_positions < kProbePositions) CHECK(std::isnan(seen_at(result, head, computed_positions).logit));
  }
}

TEST_CASE("Padding has the logit -inf before the maximum, the weight 0 in the sum, and zeros for V (gqa)",
          "[masking]") {
  check_masking(gqa(4), kGqaProbe, 13, 64);
  check_masking(gqa(16), kGqaProbe, 77, 128);
  check_masking(gqa(4), kGqaProbe, 64, 64);
}

TEST_CASE("Padding has the logit -inf before the maximum, the weight 0 in the sum, and zeros for V (mla)",
          "[masking]") {
  check_masking(mla(4), kMlaProbe, 13, 32);
  check_masking(mla(16), kMlaProbe, 77, 96);
  check_masking(mla(4), kMlaProbe, 64, 64);
}

TEST_CASE("The probe sees V rows that are not zeroed", "[masking]") {
  std::vector<SourceEdit> edits = kGqaProbe;
  edits.push_back({"gqa_decode/gqa_decode.cuh",
                   "copy16_or_zero(v_tile(stage) + to, v_from, extent.copy_bytes(position));",
                   "copy16(v_tile(stage) + to, v_from);"});
  const Batch batch = fill_padding(make_batch(gqa(4), {.kv_lens = {13}}), Poison::quiet_nan);
  Runtime edited = edited_runtime(std::move(edits));
  const Result result = decode(edited, batch, with_probe(batch));
  const Seen seen = seen_at(result, 0, 13);
  CHECK(seen.operand == 0);  // the weight alone does not help:
  CHECK(seen.value_words == 32);
  CHECK(std::isnan(batch.number(result.out[0])));
}

}  // namespace
}  // namespace librt::test
