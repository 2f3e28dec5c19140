#include "kernels/plan.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <limits>
#include <vector>

#include "kernels/work.h"
#include "src/api/plan_impl.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt::api {
namespace {

using Ints = std::vector<std::int32_t>;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64, .page_size = 4};

constexpr PlanDevice kDevice{.resident_blocks = 16};

detail::PlanImpl plan_of(const Ints& indptr, const Ints& last, const PlanLimits& limits) {
  return make_plan(kSpec, {indptr, last}, limits, kDevice);
}
detail::PlanImpl plan_of(const Ints& indptr, const Ints& last, int split_pages) {
  return plan_of(indptr, last, PlanLimits{.split_pages = split_pages});
}

template <class T>
std::vector<T> table(const detail::PlanImpl& plan, std::size_t offset, int count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  if (!values.empty()) std::memcpy(values.data(), plan.tables.data() + offset, values.size() * sizeof(T));
  return values;
}

std::string complaint(const Ints& indptr, const Ints& last, const PlanLimits& limits = {}) {
  const auto thrown = test::thrown_by([&] { plan_of(indptr, last, limits); });
  if (!thrown) return "accepted";
  CHECK(thrown->code == ErrorCode::invalid_argument);
  return thrown->what;
}

TEST_CASE("A plan covers every page of every request once, in order") {
  const Ints indptr{3, 3, 8, 9, 16}, last{77, 4, 1, 2};
  for (int split_pages = 1; split_pages <= 8; ++split_pages) {
    const detail::PlanImpl plan = plan_of(indptr, last, split_pages);
    CHECK(plan.batch == 4);
    CHECK(plan.split_pages == split_pages);
    const auto items = table<WorkItem>(plan, plan.frame.layout.items, plan.num_work_items);
    Ints next(4, 0), count(4, 0);
    for (const WorkItem& item : items) {
      const auto b = static_cast<std::size_t>(item.request);
      CHECK(item.page_begin == next[b]);
      CHECK((item.page_end == plan::kOpenEnd || item.page_end - item.page_begin == split_pages));
      next[b] = item.page_end;
      ++count[b];
    }
    CHECK(next == Ints(4, plan::kOpenEnd));  // the last item of each takes what has come since
    CHECK(count == Ints{1, (5 + split_pages - 1) / split_pages, 1, (7 + split_pages - 1) / split_pages});
    CHECK(count[0] == 1);  // an empty request still has its rows written
    int slot = 0;
    for (const WorkItem& item : items) {
      const bool is_split = count[static_cast<std::size_t>(item.request)] > 1;
      CHECK(item.partial_slot == (is_split ? slot++ : -1));
    }
    const auto merged = table<std::int32_t>(plan, plan.frame.layout.merge_requests, plan.num_split_requests);
    const auto merge_indptr = table<std::int32_t>(plan, plan.frame.layout.merge_indptr, plan.num_split_requests + 1);
    CHECK(merge_indptr.front() == 0);
    CHECK(merge_indptr.back() == slot);
    for (std::size_t i = 0; i < merged.size(); ++i) {
      CHECK(merge_indptr[i + 1] - merge_indptr[i] == count[static_cast<std::size_t>(merged[i])]);
    }
  }
}

TEST_CASE("The workspace has room for tables and partial rows, aligned") {
  const detail::PlanImpl plan = plan_of({0, 49}, {1}, 2);
  CHECK(plan.num_work_items == 25);
  CHECK(plan.num_split_requests == 1);
  const detail::WorkspaceLayout& layout = plan.frame.layout;
  for (const std::size_t offset : {layout.merge_requests, layout.merge_indptr, layout.items, layout.partial_stats,
                                   layout.partial_out, layout.total_bytes}) {
    CHECK(offset % 256 == 0);
  }
  CHECK(layout.partial_stats >= plan.tables.size());
  CHECK(layout.partial_out - layout.partial_stats >= 25 * 8 * sizeof(PartialStats));
  CHECK(layout.total_bytes - layout.partial_out >= 25 * 8 * 64 * sizeof(float));
  CHECK(plan.tables.size() == layout.items + 25 * sizeof(WorkItem));
}

TEST_CASE("A batch without requests needs nothing") {
  const detail::PlanImpl plan = plan_of({0}, {}, 0);
  CHECK(plan.batch == 0);
  CHECK(plan.num_work_items == 0);
  CHECK(plan.frame.layout.total_bytes == 0);
}

TEST_CASE("A plan of a batch without pages reads none") {
  const detail::PlanImpl plan = plan_of({5, 5, 5}, {1, 2}, 0);
  for (const WorkItem& item : table<WorkItem>(plan, plan.frame.layout.items, plan.num_work_items)) {
    CHECK(item.page_end == 0);
  }
}

TEST_CASE("Left to choose, the planner splits a long request and leaves a full batch whole") {
  CHECK(plan_of({0, 4000}, {4}, 0).num_work_items > 1);
  Ints indptr{0}, last;
  for (int b = 0; b < 64; ++b) {
    indptr.push_back(indptr.back() + 4);
    last.push_back(4);
  }
  CHECK(plan_of(indptr, last, 0).num_split_requests == 0);
}

TEST_CASE("With a fixed split a request is cut the same way in every batch") {
  const auto items_of_last = [](const detail::PlanImpl& plan) {
    std::vector<std::pair<int, int>> ranges;
    for (const WorkItem& item : table<WorkItem>(plan, plan.frame.layout.items, plan.num_work_items)) {
      if (item.request == plan.batch - 1) ranges.emplace_back(item.page_begin, item.page_end);
    }
    return ranges;
  };
  CHECK(items_of_last(plan_of({0, 11}, {3}, 4)) == items_of_last(plan_of({0, 900, 900, 911}, {1, 0, 3}, 4)));
}

TEST_CASE("Arrays that do not fit are refused, naming the element") {
  CHECK(complaint({}, {}) == "kv_indptr is empty; it must have batch + 1 elements");
  CHECK(complaint({0, 1}, {1, 1}) == "kv_last_page_len has 2 elements; kv_indptr has 2, so that 1 are needed");
  CHECK(complaint({-1, 1}, {1}) == "kv_indptr[0] is -1; allowed: 0 or above");
  CHECK(complaint({0, 3, 2}, {1, 1}) == "kv_indptr[2] is 2, below kv_indptr[1] = 3; it must never fall");
  CHECK(complaint({0, 1, 2}, {1, 0}) == "kv_last_page_len[1] is 0; allowed for a request with pages: 1..4 (page_size)");
  CHECK(complaint({0, 1}, {5}) == "kv_last_page_len[0] is 5; allowed for a request with pages: 1..4 (page_size)");
  CHECK(complaint({7, 7, 7}, {-5, std::numeric_limits<std::int32_t>::max()}) == "accepted");
  CHECK(complaint({0, 1}, {1}, {.split_pages = -2}) ==
        "limits.split_pages is -2; allowed: 0 (choose) or a number of pages");
  CHECK(complaint({0, 1 << 30}, {1}, {.split_pages = 1 << 20}) ==
        "request 0 has 1073741824 pages of 4 tokens; at most 2^31 - 1 tokens are allowed");
}

}  // namespace
}  // namespace librt::api
