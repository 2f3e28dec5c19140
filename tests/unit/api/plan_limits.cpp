// Whatever plan is within the limits fits the workspace of the limits.
#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "kernels/work.h"
#include "src/api/plan_impl.hpp"
#include "tests/support/kernel_folders.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt::api {
namespace {

using Ints = std::vector<std::int32_t>;

constexpr PlanDevice kH100{.resident_blocks = 264, .arch = {.sm = 90, .suffix = 'a'}};

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  int from(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  bool one_in(int count) { return from(1, count) == 1; }

 private:
  std::mt19937_64 random_;
};

template <class T>
std::vector<T> table(const detail::PlanImpl& plan, std::size_t offset, int count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  const std::size_t bytes = values.size() * sizeof(T);
  if (offset + bytes > plan.tables.size()) throw std::runtime_error("a table passes the end of what is uploaded");
  if (bytes > 0) std::memcpy(values.data(), plan.tables.data() + offset, bytes);
  return values;
}

/// "" if the plan is one for the batch and lies within the frame.
std::string complaint(const detail::PlanImpl& plan, const detail::PlanFrame& frame, const Ints& indptr, int heads,
                      int head_dim) {
  if (std::memcmp(&plan.frame.layout, &frame.layout, sizeof(frame.layout)) != 0) return "the layout differs";
  if (plan.frame.mark != frame.mark) return "the mark differs";
  if (plan.num_work_items > frame.limits.max_items) return "too many items";
  if (plan.num_split_requests > frame.max_merges) return "too many merges";
  if (plan.tables.size() > frame.layout.partial_stats) return "the tables pass the partial results";
  const auto header = table<PlanHeader>(plan, 0, 1).front();
  if (header.mark != frame.mark || header.num_items != plan.num_work_items ||
      header.num_merges != plan.num_split_requests) {
    return "the header is wrong";
  }
  const auto items = table<WorkItem>(plan, frame.layout.items, plan.num_work_items);
  const auto merged = table<std::int32_t>(plan, frame.layout.merge_requests, plan.num_split_requests);
  const auto slots = table<std::int32_t>(plan, frame.layout.merge_indptr, plan.num_split_requests + 1);
  const auto rows = static_cast<std::size_t>(slots.back()) * static_cast<std::size_t>(heads);
  if (frame.layout.partial_stats + rows * sizeof(PartialStats) > frame.layout.partial_out) return "no room for stats";
  if (frame.layout.partial_out + rows * static_cast<std::size_t>(head_dim) * sizeof(float) > frame.layout.total_bytes) {
    return "no room for partial rows";
  }
  std::size_t at = 0, merge = 0;
  for (std::size_t b = 0; b + 1 < indptr.size(); ++b) {
    const std::size_t first = at;
    for (int next = 0; at < items.size() && items[at].request == static_cast<int>(b); ++at) {
      if (items[at].page_begin != next) return fmt::format("request {} has a gap", b);
      next = items[at].page_end;
    }
    if (at == first) return fmt::format("request {} has no item", b);
    if (at - first == 1) continue;
    if (merge >= merged.size() || merged[merge] != static_cast<int>(b))
      return fmt::format("request {} is not merged", b);
    for (std::size_t i = first; i < at; ++i) {
      if (items[i].partial_slot != slots[merge] + static_cast<int>(i - first)) return "a slot is not its own";
    }
    if (slots[merge + 1] - slots[merge] != static_cast<int>(at - first)) return "a merge has other slots";
    ++merge;
  }
  return at == items.size() && merge == merged.size() ? "" : "there are items of no request";
}

TEST_CASE("workspace_bytes of the limits covers every plan within them", "[plan][property]") {
  const std::uint64_t rounds = std::getenv("LIBRT_TEST_FULL") != nullptr ? 10'000 : 500;
  for (std::uint64_t seed = 1; seed <= rounds; ++seed) {
    Draw draw(seed);
    const Spec spec = draw.one_in(2)
                          ? Spec(GqaDecodeSpec{.num_qo_heads = 8 * draw.from(1, 4),
                                               .num_kv_heads = 8,
                                               .head_dim = 64,
                                               .page_size = draw.from(1, 64)})
                          : Spec(MlaDecodeSpec{.num_heads = draw.from(1, 128), .page_size = draw.from(1, 64)});
    const SplitShape shape = description(*spec.kind()).split(spec, kH100.arch);
    const PlanDevice device{.resident_blocks = draw.from(1, 600), .arch = kH100.arch, .may_split = !draw.one_in(8)};
    PlanLimits limits{.max_batch = draw.from(1, 40), .max_pages = draw.from(0, draw.one_in(2) ? 20 : 5000)};
    if (draw.one_in(3)) limits.split_pages = draw.from(1, 50);
    if (draw.one_in(3)) limits.invariant = true;
    if (draw.one_in(3)) limits.max_items = limits.max_batch + draw.from(0, 100);
    const detail::PlanFrame frame = make_frame(spec, limits, device);
    for (int round = 0; round < 4; ++round) {
      const int batch = draw.one_in(2) ? limits.max_batch : draw.from(0, limits.max_batch);
      Ints indptr{draw.from(0, 3)}, last;
      std::int64_t left = draw.one_in(2) ? limits.max_pages : draw.from(0, static_cast<int>(limits.max_pages));
      for (int b = 0; b < batch; ++b) {
        const int pages = b == batch - 1 && draw.one_in(2) ? static_cast<int>(left)
                                                           : draw.from(0, static_cast<int>(left) / draw.from(1, batch));
        left -= pages;
        indptr.push_back(indptr.back() + pages);
        last.push_back(draw.from(1, shape.page_size));
      }
      INFO("seed " << seed << ", round " << round << ": " << to_string(spec) << ", max_batch " << limits.max_batch
                   << ", max_pages " << limits.max_pages << ", split_pages " << limits.split_pages << ", invariant "
                   << limits.invariant << ", max_items " << limits.max_items << ", batch " << batch);
      try {
        const detail::PlanImpl plan = make_plan(spec, {indptr, last}, limits, device);
        REQUIRE(complaint(plan, frame, indptr, shape.heads, shape.head_dim) == "");
      } catch (const Error& error) {
        // Only a fixed split may meet a limit of items that somebody set.
        REQUIRE((limits.max_items > 0 && (limits.split_pages > 0 || limits.invariant)));
        REQUIRE(std::string(error.what()).find("limits.max_items") != std::string::npos);
      }
    }
  }
}

TEST_CASE("256 requests and 100,000 pages of 16 tokens take less than 256 MB of every kernel", "[plan]") {
  int looked_at = 0;
  for (const std::string& path : test::files_of_kernels("matrix.json")) {
    const auto matrix = nlohmann::json::parse(std::ifstream(path));
    for (const auto& text : matrix["specs"]) {
      const Spec spec = parse_spec(text.get<std::string>());
      if (description(*spec.kind()).split == nullptr) continue;
      const detail::PlanFrame frame =
          make_frame(spec.with("page_size", 16), {.max_batch = 256, .max_pages = 100'000}, kH100);
      INFO(to_string(spec));
      CHECK(frame.layout.total_bytes < 256'000'000);
      ++looked_at;
    }
  }
  CHECK(looked_at > 20);
}

TEST_CASE("Limits that cannot be, and batches past them, are refused by name", "[plan]") {
  const Spec spec = GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 2, .head_dim = 64, .page_size = 4};
  const auto refused = [&](const PlanLimits& limits, const Ints& indptr = {0, 5, 9}, const Ints& last = {1, 2}) {
    const auto thrown = test::thrown_by([&] { make_plan(spec, {indptr, last}, limits, kH100); });
    return thrown ? thrown->what : "accepted";
  };
  CHECK(refused({.max_batch = 2, .max_pages = 9}) == "accepted");
  CHECK(refused({.max_batch = -1}) == "limits.max_batch is -1; allowed: 0 (of the batch) or a number of requests");
  CHECK(refused({.max_batch = 2, .max_pages = -9}) == "limits.max_pages is -9; allowed: 0 or above");
  CHECK(refused({.max_batch = 2, .max_pages = 9, .max_items = 1}) ==
        "limits.max_items is 1; allowed: 0 or 2 (max_batch) to 2147481599");
  CHECK(refused({.max_batch = 1, .max_pages = 9}) == "the batch has 2 requests; allowed: up to limits.max_batch=1");
  CHECK(refused({.max_batch = 2, .max_pages = 8}) == "the batch has 9 pages; allowed: up to limits.max_pages=8");
  CHECK(refused({.max_batch = 2, .max_pages = 9, .max_qo_rows = 1}) ==
        "the batch has 2 query rows; allowed: up to limits.max_qo_rows=1");
  CHECK(refused({.max_batch = 2, .max_pages = 9, .split_pages = 1, .max_items = 8}) ==
        "splits of 1 pages make 9 work items of the batch; allowed: up to limits.max_items=8");
  const auto frame = test::thrown_by([&] { make_frame(spec, {}, kH100); });
  CHECK(frame->what == "limits.max_batch is 0; allowed here: 1 and above");
  const auto many = test::thrown_by(
      [&] { make_frame(spec, {.max_batch = 1, .max_pages = std::int64_t{1} << 40, .split_pages = 1}, kH100); });
  CHECK(many->what ==
        "limits.max_batch=1 and limits.max_pages=1099511627776 come to 1099511627777 work items; allowed: up to "
        "2147481599");
}

TEST_CASE("The planner splits less rather than pass the items that are allowed", "[plan]") {
  const Spec spec = GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 1, .head_dim = 64, .page_size = 16};
  const Ints indptr{0, 4096}, last{16};
  const auto items = [&](int max_items) {
    return make_plan(spec, {indptr, last}, {.max_batch = 1, .max_pages = 4096, .max_items = max_items}, kH100)
        .num_work_items;
  };
  CHECK(items(0) > 100);
  CHECK(items(1) == 1);
  for (const int most : {2, 7, 50}) {
    CHECK(items(most) <= most);
    CHECK(items(most) > most / 2);
  }
}

TEST_CASE("An invariant plan cuts a request alike in every batch and on every device", "[plan]") {
  const Spec spec = GqaDecodeSpec{.num_qo_heads = 8, .num_kv_heads = 1, .head_dim = 64, .page_size = 16};
  const auto split_of = [&](const Ints& indptr, const Ints& last, int resident_blocks) {
    return make_plan(spec, {indptr, last}, {.invariant = true}, {.resident_blocks = resident_blocks}).split_pages;
  };
  for (const int resident_blocks : {1, 66, 264}) {
    CHECK(split_of({0, 4096}, {16}, resident_blocks) == 256);
    CHECK(split_of({0, 3, 7}, {16, 2}, resident_blocks) == 256);
  }
}

}  // namespace
}  // namespace librt::api
