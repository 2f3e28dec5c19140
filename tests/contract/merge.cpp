// The kernel that merges splits, by itself: any partial results, also such as no decode writes.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "tests/contract/merger.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool all(const Merged& merged, double value) {
  return std::ranges::all_of(merged.out, [&](double number) { return number == value; });
}

bool all_nan(const Merged& merged) {
  return std::ranges::all_of(merged.out, [](double number) { return std::isnan(number); });
}

const std::vector<int> kHeadDims{64, 80, 96, 128, 192, 256, 512};

TEST_CASE("T22: nothing and nothing is nothing; nothing and x is x", "[merge]") {
  for (const int head_dim : kHeadDims) {
    const Merger merge(shared_runtime(), head_dim);
    INFO("head_dim " << head_dim);
    const Part empty = constant(head_dim, 0, kNoPositions);
    const Part x = constant(head_dim, 0.625F, {1.5F, 1});
    for (const std::vector<Part>& parts : {std::vector{empty, empty}, std::vector(9, empty)}) {
      const Merged merged = merge(parts);
      CHECK(merged.lse == -kInfinity);
      CHECK(all(merged, 0));
    }
    for (const std::vector<Part>& parts :
         {std::vector{empty, x}, std::vector{x, empty}, std::vector{empty, empty, x, empty}}) {
      const Merged merged = merge(parts);
      CHECK(merged.lse == Approx(1.5F));
      CHECK(all(merged, 0.625));
    }
  }
}

TEST_CASE("T22: what stands in the row of an empty part does not leak", "[merge]") {
  for (const int head_dim : kHeadDims) {
    const Merger merge(shared_runtime(), head_dim);
    INFO("head_dim " << head_dim);
    const Part x = constant(head_dim, 0.625F, {-3, 2});
    for (const float stale : {kNan, kInfinity, -kInfinity, 3e38F}) {
      const Part empty = constant(head_dim, stale, kNoPositions);
      CHECK(all(merge({empty, x}), 0.625));
      CHECK(all(merge({x, empty, empty}), 0.625));
      const Merged nothing = merge({empty, empty});
      CHECK(all(nothing, 0));
      CHECK(nothing.lse == -kInfinity);
    }
  }
}

TEST_CASE("T22: a part without weight adds nothing, but a NaN or Inf in its row surfaces", "[merge]") {
  for (const int head_dim : kHeadDims) {
    const Merger merge(shared_runtime(), head_dim);
    INFO("head_dim " << head_dim);
    const Part weightless = constant(head_dim, 0, kNoWeight);
    for (const float max : {-3e38F, -3.0F, 3e38F}) {
      const Part x = constant(head_dim, 0.625F, {max, 2});
      CHECK(all(merge({weightless, x}), 0.625));
      CHECK(all(merge({x, constant(head_dim, 0, kNoPositions), weightless}), 0.625));
    }
    const Merged nothing = merge({weightless, constant(head_dim, 0, kNoPositions), weightless});
    CHECK(all(nothing, 0));
    CHECK(nothing.lse == -kInfinity);
    for (const float value : {kNan, kInfinity, -kInfinity}) {
      const Part bad = constant(head_dim, value, kNoWeight);
      CHECK(all_nan(merge({bad, constant(head_dim, 0.625F, {-3, 2})})));
      CHECK(all_nan(merge({weightless, bad})));
    }
  }
}

TEST_CASE("T22: a NaN sum or a maximum of +inf makes the row NaN, a NaN in a part's row its column", "[merge]") {
  for (const int head_dim : {64, 96, 512}) {
    const Merger merge(shared_runtime(), head_dim);
    INFO("head_dim " << head_dim);
    const Part x = constant(head_dim, 0.625F, {1.5F, 1});
    for (const PartialStats stats : {PartialStats{0, kNan}, PartialStats{kNoWeight.max, kNan},
                                     PartialStats{kInfinity, kNan}, PartialStats{kInfinity, 1}}) {
      const Part bad = constant(head_dim, 0.5F, stats);
      for (const std::vector<Part>& parts :
           {std::vector{bad, x}, std::vector{x, bad}, std::vector{x, x, x, x, x, bad}}) {
        const Merged merged = merge(parts);
        CHECK(all_nan(merged));
        CHECK(std::isnan(merged.lse));
      }
    }
    Part nan_column = x;
    nan_column.out[5] = kNan;
    const Merged merged = merge({x, nan_column});
    CHECK(std::isnan(merged.out[5]));
    CHECK(merged.out[4] == 0.625);
    CHECK(std::isfinite(merged.lse));
  }
}

TEST_CASE("T22: a finite row past the largest number of the type ends there, an infinite one does not", "[merge]") {
  for (const int head_dim : {64, 512}) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      const Merger merge(shared_runtime(), head_dim, dtype);
      const double largest = to_double(special_bits(dtype).largest, dtype);
      // The first number that rounds to an infinity, and the last one of fp32.
      const float first = dtype == DType::f16 ? 65520.0F : 0x1.ffp127F;
      for (const float past : {first, std::numeric_limits<float>::max()}) {
        INFO("head_dim " << head_dim << ", " << to_string(dtype) << ", " << past);
        for (const float sign : {1.0F, -1.0F}) {
          const Part part = constant(head_dim, sign * past, {1.5F, 1});
          CHECK(all(merge({part}), static_cast<double>(sign) * largest));
          CHECK(all(merge({part, part, constant(head_dim, 0, kNoPositions)}), static_cast<double>(sign) * largest));
          Part infinite = part;
          infinite.out[5] = sign * kInfinity;
          infinite.out[6] = kNan;
          const Merged merged = merge({infinite, part});
          CHECK(merged.out[4] == static_cast<double>(sign) * largest);
          CHECK(merged.out[5] == static_cast<double>(sign * kInfinity));
          CHECK(std::isnan(merged.out[6]));
        }
      }
    }
  }
}

/// Random parts of 1 to 65 equal logits, which are spread over `spread`.
std::vector<Part> random_parts(int head_dim, int count, float spread, unsigned seed) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<float>(random() >> 8) * 0x1p-23F - 1; };
  std::vector<Part> parts;
  for (int i = 0; i < count; ++i) {
    Part part = constant(head_dim, 0, {spread * uniform(), 33 + 32 * uniform()});
    std::ranges::generate(part.out, uniform);
    parts.push_back(std::move(part));
  }
  return parts;
}

struct Exact {
  std::vector<double> out;
  double lse;
};

Exact merged_in_double(const std::vector<Part>& parts) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const Part& part : parts) largest = std::fmax(largest, static_cast<double>(part.stats.max));
  Exact exact{std::vector<double>(parts[0].out.size(), 0.0), 0};
  for (const Part& part : parts) {
    const double weight = std::exp(static_cast<double>(part.stats.max) - largest) * static_cast<double>(part.stats.sum);
    sum += weight;
    for (std::size_t d = 0; d < exact.out.size(); ++d) exact.out[d] += weight * static_cast<double>(part.out[d]);
  }
  for (double& number : exact.out) number /= sum;
  exact.lse = largest + std::log(sum);
  return exact;
}

TEST_CASE("T22: any number of parts, in any order", "[merge]") {
  for (const int head_dim : {64, 96, 512}) {
    const Merger merge(shared_runtime(), head_dim);
    for (const int count : {1, 2, 3, 7, 8, 33, 257, 1000}) {
      for (const float spread : {1.0F, 30.0F}) {
        INFO("head_dim " << head_dim << ", " << count << " parts, maxima within +-" << spread);
        std::vector<Part> parts = random_parts(head_dim, count, spread, static_cast<unsigned>(count));
        const Exact exact = merged_in_double(parts);
        for (int order = 0; order < 2; ++order) {
          const Merged merged = merge(parts);
          CHECK(static_cast<double>(merged.lse) == Approx(exact.lse).epsilon(1e-5).margin(1e-5));
          double error = 0;
          for (std::size_t d = 0; d < exact.out.size(); ++d) {
            error = std::max(error, std::fabs(merged.out[d] - exact.out[d]));
          }
          CHECK(error <= 1e-3);
          std::ranges::reverse(parts);
        }
      }
    }
  }
}

TEST_CASE("T22: parts weigh by their sums wherever their logits lie", "[merge]") {
  const Merger merge(shared_runtime(), 64);
  for (const float max : {-3e38F, -1e6F, -1e5F, 0.0F, 1e6F, 3e38F}) {
    const Merged merged = merge({constant(64, 1, {max, 6}), constant(64, 0.5F, {max, 2})});
    INFO("all logits " << max);
    CHECK(all(merged, 0.875));
    CHECK(merged.lse == Approx(max + std::log(8.0F)));
  }
  CHECK(all(merge({constant(64, 1, {-3e38F, 6}), constant(64, 0.5F, {3e38F, 2})}), 0.5));
}

}  // namespace
}  // namespace librt::test
