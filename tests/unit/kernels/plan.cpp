// Split planning: every page is covered once, splits lie where the batch has no say, and the choice is a sound one.
#include "kernels/plan.h"

#include <catch2/catch.hpp>

#include <climits>
#include <random>
#include <vector>

#include "kernels/gqa_decode/gqa_decode.h"

namespace {

using librt::WorkItem;
using namespace librt::plan;

long long total_items(const std::vector<int>& pages, int split_pages) {
  long long total = 0;
  for (const int num_pages : pages) total += split_count(num_pages, split_pages);
  return total;
}

SplitQuestion question(int max_pages, int page_size, int blocks_per_item, int resident_blocks) {
  return {max_pages, page_size, blocks_per_item, resident_blocks, 1LL << 40, gqa_costs()};
}

int choose_for_equal_requests(int batch, const SplitQuestion& asked) {
  return choose_split_pages(asked, [&](int split_pages) {
    return static_cast<long long>(batch) * split_count(asked.max_pages, split_pages);
  });
}

static_assert(split_count(0, 1) == 1, "usable in constant expressions");
static_assert(split_item(3, 5, 2, 1, 10).page_end == 4);
static_assert(split_item(3, 5, 2, 2, 10).page_end == kOpenEnd);

}  // namespace

TEST_CASE("the splits of a request cover its pages once, in order", "[kernels][plan]") {
  constexpr int kFirstSlot = 100;
  for (int num_pages = 0; num_pages <= 40; ++num_pages) {
    for (int split_pages = 1; split_pages <= 42; ++split_pages) {
      const int count = split_count(num_pages, split_pages);
      REQUIRE(count >= 1);
      int next_page = 0;
      for (int index = 0; index < count; ++index) {
        const WorkItem item = split_item(7, num_pages, split_pages, index, kFirstSlot);
        REQUIRE(item.request == 7);
        REQUIRE(item.page_begin == next_page);
        REQUIRE(item.page_begin == index * split_pages);
        REQUIRE(item.page_end > item.page_begin);
        REQUIRE((item.page_end == kOpenEnd) == (index == count - 1));
        if (index < count - 1) REQUIRE(item.page_end - item.page_begin == split_pages);
        REQUIRE(item.partial_slot == (count == 1 ? -1 : kFirstSlot + index));
        next_page = item.page_end;
      }
      REQUIRE(next_page == kOpenEnd);
    }
  }
}

TEST_CASE("a request without pages still has one item, which writes its rows", "[kernels][plan]") {
  const WorkItem item = split_item(2, 0, 4, 0, 9);
  CHECK(split_count(0, 4) == 1);
  CHECK(item.page_begin == 0);
  CHECK(item.page_end == kOpenEnd);
  CHECK(item.partial_slot == -1);
}

TEST_CASE("the largest arguments do not overflow", "[kernels][plan]") {
  CHECK(split_count(INT_MAX, 1) == INT_MAX);
  CHECK(split_count(INT_MAX, INT_MAX) == 1);
  CHECK(split_count(1, INT_MAX) == 1);
  const WorkItem last = split_item(0, INT_MAX, INT_MAX - 1, 1, 0);
  CHECK(last.page_begin == INT_MAX - 1);
  CHECK(last.page_end == INT_MAX);
  const SplitQuestion huge = question(INT_MAX, 65536, 8, 264);
  CHECK(estimated_tokens(huge, INT_MAX, 1) > 0);
  CHECK(choose_for_equal_requests(1, huge) >= 1);
}

TEST_CASE("the chosen split lies between one page and the longest request", "[kernels][plan]") {
  std::mt19937 random(11);
  const auto draw = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  for (int round = 0; round < 300; ++round) {
    std::vector<int> pages(static_cast<std::size_t>(draw(1, 40)));
    int max_pages = 0;
    for (int& num_pages : pages) {
      num_pages = draw(0, draw(0, 1) == 0 ? 3 : 2000);
      max_pages = num_pages > max_pages ? num_pages : max_pages;
    }
    const SplitQuestion asked = question(max_pages, draw(1, 128), draw(1, 32), draw(1, 300));
    const int chosen = choose_split_pages(asked, [&](int split_pages) { return total_items(pages, split_pages); });
    CAPTURE(round, max_pages, chosen);
    REQUIRE(chosen >= 1);
    REQUIRE(chosen <= (max_pages > 0 ? max_pages : 1));
    const int whole = max_pages > 0 ? max_pages : 1;
    REQUIRE(estimated_tokens(asked, chosen, total_items(pages, chosen)) <=
            estimated_tokens(asked, whole, total_items(pages, whole)));
  }
}

TEST_CASE("a single long request is spread over the device, in one wave", "[kernels][plan]") {
  const SplitQuestion asked = question(4096, 16, 8, 264);
  const int split_pages = choose_for_equal_requests(1, asked);
  const int blocks = split_count(4096, split_pages) * 8;
  CHECK(blocks > 264 / 2);
  CHECK(blocks <= 264);
}

TEST_CASE("a batch that fills the device is not split", "[kernels][plan]") {
  CHECK(choose_for_equal_requests(33, question(256, 16, 8, 264)) == 256);
  CHECK(choose_for_equal_requests(132, question(256, 16, 8, 264)) == 256);
}

TEST_CASE("a short request is not split", "[kernels][plan]") {
  CHECK(choose_for_equal_requests(1, question(1, 16, 8, 264)) == 1);
  CHECK(choose_for_equal_requests(1, question(4, 16, 8, 264)) == 4);
}

TEST_CASE("a batch just over a wave is split rather than run twice", "[kernels][plan]") {
  const SplitQuestion asked = question(256, 16, 8, 264);
  const int split_pages = choose_for_equal_requests(34, asked);
  CHECK(split_pages < 256);
  CHECK(estimated_tokens(asked, split_pages, 34LL * split_count(256, split_pages)) < estimated_tokens(asked, 256, 34));
}
