// Finite in, finite out: values up to the largest number of the type, however the work is split.
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

const char* const kDevices[] = {"virtual:sm_80", "virtual:sm_90", "virtual:sm_100", "virtual:sm_120"};

/// Those of specs.hpp, two warps to a token (gqa), and 64 rows to a block (mla).
std::vector<Spec> all_specs(int page_size) {
  std::vector<Spec> specs{gqa(page_size, DType::bf16, 256), mla(page_size, DType::bf16, 40)};
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Spec& spec : both(page_size, dtype)) specs.push_back(spec);
  }
  return specs;
}

/// Logits, and values as shares of the largest number of the type.
struct Pattern {
  const char* name;
  double (*logit)(int position);
  double (*share)(int position, int d);
};

double sign(int number) {
  return number % 2 == 0 ? 1 : -1;
}

constexpr Pattern kPatterns[] = {
    {"a column is one number", [](int) { return 0.0; }, [](int, int d) { return sign(d); }},
    {"signs alternate", [](int) { return 0.0; }, [](int position, int d) { return sign(position + d); }},
    {"weights and values are mixed", [](int position) { return position * 5 % 7 - 3.0; },
     [](int position, int d) { return ((position * 31 + d * 17) % 9 - 4) / 4.0; }},
    {"the maximum rises all the way", [](int position) { return position / 4.0; },
     [](int position, int d) { return sign(position / 16 + d); }},
    {"most weights are small", [](int position) { return position == 37 ? 0.0 : -12.0; },
     [](int position, int d) { return position == 37 ? 0.5 : sign(d); }},
    {"logits near the end of f16", [](int position) { return 5e4 + 32 * (position % 2); },
     [](int position, int d) { return sign(position + d / 2); }}};

double largest(const Batch& batch) {
  return batch.number(special_bits(batch.shape.dtype).largest);
}

Batch patterned(const Spec& spec, const Recipe& recipe, const Pattern& pattern) {
  Batch batch = make_batch(spec, recipe);
  for (int request = 0; request < batch.size(); ++request) {
    set_logits(batch, request, pattern.logit);
    for (int position = 0; position < batch.kv_len(request); ++position) {
      for (int head = 0; head < batch.shape.kv_heads; ++head) {
        for (int d = 0; d < batch.shape.out_dim(); ++d) {
          batch.value(request, position, head, d) = batch.bits(largest(batch) * pattern.share(position, d));
        }
      }
    }
  }
  return batch;
}

TEST_CASE("T19: values up to the largest number of the type, in every split", "[range]") {
  for (const Spec& spec : all_specs(16)) {
    for (const Pattern& pattern : kPatterns) {
      const Batch batch = patterned(spec, {.kv_lens = {201, 17, 1}}, pattern);
      const Expected expected = expected_of(batch);
      for (const char* const device : kDevices) {
        Runtime& runtime = shared_runtime(device);
        for (int split_pages = 1; split_pages <= 13; ++split_pages) {
          INFO(to_string(spec) << " on " << device << ", " << pattern.name << ", split_pages " << split_pages);
          CHECK(difference(batch, decode(runtime, batch, {.split_pages = split_pages}), expected) == "");
        }
      }
    }
  }
}

TEST_CASE("T19: with values up to the largest number, poison in the padding changes no bit", "[range]") {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Spec& spec : both(4, dtype)) {
      for (const int split_pages : {64, 2}) {
        INFO(to_string(spec) << ", split_pages " << split_pages);
        const Batch batch = patterned(spec, {.kv_lens = {77, 13, 6}}, kPatterns[2]);
        CHECK(poison_difference(shared_runtime(), batch, {.split_pages = split_pages}) == "");
      }
    }
  }
}

TEST_CASE("T19: where a column is one number the result is that number, to the bit", "[range]") {
  for (const Spec& spec : all_specs(16)) {
    for (const double value : {2e37, 1e38, 3e38, 6e4}) {
      Batch batch = make_batch(spec, {.kv_lens = {256}});
      const Bits bits = std::min(batch.bits(value), special_bits(batch.shape.dtype).largest);
      set_logits(batch, 0, [](int position) { return position % 5 / 4.0; });
      for (int position = 0; position < 256; ++position) {
        for (int head = 0; head < batch.shape.kv_heads; ++head) {
          for (int d = 0; d < batch.shape.out_dim(); ++d) batch.value(0, position, head, d) = bits;
        }
      }
      for (int split_pages = 1; split_pages <= 16; ++split_pages) {
        INFO(to_string(spec) << ", V = " << batch.number(bits) << ", split_pages " << split_pages);
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        CHECK(std::ranges::all_of(result.out, [&](Bits number) { return number == bits; }));
      }
    }
  }
}

/// One request of `pages` pages of 64: the first one, and then the second one over and over.
Batch long_batch(const Spec& spec, int pages) {
  Batch batch = make_batch(spec, {.kv_lens = {128}, .unowned_pages = 0});
  batch.kv_indices.resize(static_cast<std::size_t>(pages), batch.kv_indices[1]);
  batch.kv_indptr[1] = pages;
  return batch;
}

void set_values(Batch& batch, Bits bits) {
  for (int position = 0; position < 128; ++position) {
    for (int d = 0; d < batch.shape.out_dim(); ++d) batch.value(0, position, 0, d) = bits;
  }
}

TEST_CASE("T19: the largest number at very many positions", "[range]") {
  constexpr int kPages = 1100;
  for (const Spec& spec : {gqa(64, DType::bf16, 64, 1, 1), mla(64, DType::bf16, 1)}) {
    Batch batch = long_batch(spec, kPages);
    const Bits bits = special_bits(DType::bf16).largest;
    set_logits(batch, 0, [](int) { return 0.0; });
    set_values(batch, bits);
    for (const int split_pages : {kPages, 100}) {
      INFO(to_string(spec) << ", split_pages " << split_pages);
      const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
      CHECK(std::ranges::all_of(result.out, [&](Bits number) { return number == bits; }));
      CHECK(static_cast<double>(result.lse[0]) == Approx(std::log(64.0 * kPages)).epsilon(1e-6));
    }
  }
}

// 15 positions of weight 1 for each sum, and then weights whose product with the value is a little more than half a
// last place of the sum of products: each is rounded up to a whole one, and the quotient of the sums passes the value.
TEST_CASE("T19: a mean that rounding carries past the largest number is the largest number", "[range]") {
  constexpr int kPages = 700;
  const Bits bits = special_bits(DType::f16).largest;
  for (const Spec& spec : {gqa(64, DType::f16, 64, 1, 1), mla(64, DType::f16, 1)}) {
    INFO(to_string(spec));
    Batch batch = long_batch(spec, kPages);
    const double small = std::log(9 * 0x1p-24);
    const auto is_heavy = [&](int position) {
      return position < (batch.shape.is_mla ? 15 : 64) && position % 16 != 15;
    };
    set_logits(batch, 0, [&](int position) { return is_heavy(position) ? 0.0 : small; });
    for (const double value : {1.0, -1.0}) {
      set_values(batch, static_cast<Bits>(value > 0 ? bits : bits | kSign));
      const Result result = decode(shared_runtime(), batch, {.split_pages = kPages});
      CHECK(std::ranges::all_of(result.out, [&](Bits number) { return batch.number(number) == value * 65504; }));
    }
  }
}

TEST_CASE("T19: a large value counts where its weight is far below the others", "[range]") {
  for (const Spec& spec : both(16)) {
    for (const double logit : {-20.0, -40.0, -60.0}) {
      INFO(to_string(spec) << ", logit " << logit << ", 0 elsewhere");
      Batch batch = patterned(spec, {.kv_lens = {201}}, {"", [](int) { return 0.0; }, [](int, int) { return 0.0; }});
      set_logits(batch, 0, [&](int position) { return position == 100 ? logit : 0.0; });
      for (int d = 0; d < batch.shape.out_dim(); ++d) {
        batch.value(0, 100, 0, d) = batch.bits(sign(d) * largest(batch));
      }
      const Expected expected = expected_of(batch);
      for (const int split_pages : {13, 3, 1}) {
        CHECK(difference(batch, decode(shared_runtime(), batch, {.split_pages = split_pages}), expected) == "");
      }
    }
  }
}

// q.k is summed in fp32 before it is scaled: kernels/README.md says what becomes of a logit past its end.
TEST_CASE("T16: finite q and k whose product fp32 cannot hold", "[range]") {
  for (const Spec& spec : both(16)) {
    for (const double sign : {1.0, -1.0}) {
      INFO(to_string(spec) << ", sign " << sign);
      Batch batch = make_batch(spec, {.kv_lens = {77}});
      set_logits(batch, 0, [](int) { return 0.0; });
      batch.sm_scale = 1e-38F;
      for (int head = 0; head < batch.shape.qo_heads; ++head) {
        batch.query(0, head, logit_dim(batch)) = batch.bits(1e20);
      }
      for (int position = 0; position < 77; ++position) {
        for (int head = 0; head < batch.shape.kv_heads; ++head) {
          batch.key(0, position, head, logit_dim(batch)) = batch.bits(sign * 1e20);
        }
      }
      for (const int split_pages : {5, 2}) {
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        for (const float lse : result.lse) {
          CHECK((sign > 0 ? std::isnan(lse) : lse == -std::numeric_limits<float>::infinity()));
        }
        for (const Bits bits : result.out) {
          REQUIRE((sign > 0 ? std::isnan(batch.number(bits)) : batch.number(bits) == 0));
        }
      }
    }
  }
}

TEST_CASE("T28: denormal values count in either kernel and in every split", "[range]") {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Spec& spec : both(16, dtype)) {
      Batch batch = make_batch(spec, {.kv_lens = {201}});
      set_logits(batch, 0, [](int position) { return position % 5 / 4.0; });
      for (int position = 0; position < 201; ++position) {
        for (int head = 0; head < batch.shape.kv_heads; ++head) {
          for (int d = 0; d < batch.shape.out_dim(); ++d) {
            batch.value(0, position, head, d) = static_cast<Bits>(1 + (position + d) % 5);
          }
        }
      }
      const Expected expected = expected_of(batch);
      const double ulp = batch.number(1);
      for (int split_pages = 1; split_pages <= 13; ++split_pages) {
        INFO(to_string(spec) << ", split_pages " << split_pages);
        const Result result = decode(shared_runtime(), batch, {.split_pages = split_pages});
        for (std::size_t i = 0; i < result.out.size(); ++i) {
          REQUIRE(std::fabs(batch.number(result.out[i]) - expected.out[i]) <= 0.7 * ulp);
        }
      }
    }
  }
}

}  // namespace
}  // namespace librt::test
