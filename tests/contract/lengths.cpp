// What a length is: how pages and kv_last_page_len make a kv_len on the device, and what the host refuses.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

/// A query of zeros gives every valid position the logit 0, so that e^LSE counts the positions that the kernel saw.
Batch counting_batch(const Spec& spec, const std::vector<int>& kv_lens) {
  Batch batch = make_batch(spec, {.kv_lens = kv_lens});
  std::ranges::fill(batch.q, Bits{0});
  std::ranges::fill(batch.q_pe, Bits{0});
  return fill_padding(std::move(batch), Poison::quiet_nan);
}

TEST_CASE("T01: the device counts (pages - 1) * page_size + last_page_len positions", "[lengths]") {
  for (const auto& make_spec :
       {+[](int page_size) { return gqa(page_size); }, +[](int page_size) { return mla(page_size); }}) {
    for (int page_size = 1; page_size <= 8; ++page_size) {
      std::vector<int> kv_lens;
      for (int kv_len = 0; kv_len <= 4 * page_size + 1; ++kv_len) kv_lens.push_back(kv_len);
      const Batch batch = counting_batch(make_spec(page_size), kv_lens);
      const Result result = decode(shared_runtime(), batch);
      for (std::size_t row = 0; row < result.lse.size(); ++row) {
        const int kv_len = kv_lens[row / static_cast<std::size_t>(batch.shape.qo_heads)];
        INFO(to_string(batch.spec) << ", kv_len " << kv_len << ", LSE " << result.lse[row]);
        CHECK(std::exp(static_cast<double>(result.lse[row])) == Approx(kv_len).epsilon(1e-4).margin(0));
      }
    }
  }
}

TEST_CASE("T01: kv_last_page_len of a request without pages is ignored, whatever it holds", "[lengths]") {
  for (const Spec& spec : both(4)) {
    Batch batch = counting_batch(spec, {5, 0, 3});
    const Result expected = decode(shared_runtime(), batch);
    for (const std::int32_t ignored :
         {0, 1, 4, 5, -1, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()}) {
      INFO(to_string(spec) << ", kv_last_page_len " << ignored);
      batch.kv_last_page_len[1] = ignored;
      CHECK(bit_difference(batch, expected, decode(shared_runtime(), batch)).empty());
    }
  }
}

TEST_CASE("T01: a length outside 1..page_size is refused by the plan", "[lengths]") {
  for (const Spec& spec : both(4)) {
    const Kernel kernel = shared_runtime().get(spec);
    const std::vector<std::int32_t> indptr{2, 4, 5};
    for (const std::int32_t wrong : {0, -1, 5, std::numeric_limits<std::int32_t>::min()}) {
      const std::vector<std::int32_t> last{1, wrong};
      INFO(to_string(spec) << ", kv_last_page_len " << wrong);
      REQUIRE_THROWS_MATCHES(kernel.plan({indptr, last}), Error, Catch::Predicate<Error>([](const Error& error) {
                               return error.code() == ErrorCode::invalid_argument &&
                                      std::string(error.what()).find("kv_last_page_len[1]") != std::string::npos;
                             }));
    }
  }
}

TEST_CASE("T01: a device length outside 1..page_size is clamped, never read past the page", "[lengths]") {
  for (const Spec& spec : both(4)) {
    const Batch planned = counting_batch(spec, {7, 6});
    for (const auto& [wrong, counted] :
         {std::pair{0, 4}, std::pair{-5, 4}, std::pair{9, 8}, std::pair{std::numeric_limits<int>::max(), 8}}) {
      // The slots up to the end of the last page become visible where the length is too large, so they hold numbers.
      Batch batch = fill_padding(planned, Poison::zero);
      batch.kv_last_page_len[0] = wrong;
      const Result result = decode(shared_runtime(), batch, {.planned_for = &planned});
      INFO(to_string(spec) << ", kv_last_page_len " << wrong);
      CHECK(std::exp(static_cast<double>(result.lse[0])) == Approx(counted).epsilon(1e-4).margin(0));
    }
  }
}

/// Whether a span of these integers is accepted as kv_indptr and kv_last_page_len.
template <class Integer>
constexpr bool kPlans = requires(const Kernel& kernel, std::span<const Integer> numbers) {
  kernel.plan({numbers, numbers});
};
template <class Integer>
constexpr bool kLaunches = requires(GqaDecodeArgs gqa_args, MlaDecodeArgs mla_args, const Integer* numbers) {
  gqa_args.kv_indices = numbers;
  mla_args.kv_last_page_len = numbers;
};

TEST_CASE("T02: index arrays of 64-bit integers do not compile", "[lengths]") {
  STATIC_REQUIRE(kPlans<std::int32_t>);
  STATIC_REQUIRE_FALSE(kPlans<std::int64_t>);
  STATIC_REQUIRE_FALSE(kPlans<std::uint32_t>);
  STATIC_REQUIRE(kLaunches<std::int32_t>);
  STATIC_REQUIRE_FALSE(kLaunches<std::int64_t>);
}

}  // namespace
}  // namespace librt::test
