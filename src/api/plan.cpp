#include "kernels/plan.h"

#include <librt/error.hpp>
#include <librt/kernel.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "kernels/work.h"
#include "src/api/plan_impl.hpp"
#include "src/util/hash.hpp"
#include "src/util/refuse.hpp"

namespace librt::api {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr int kInvariantSplitTokens = 4096;
constexpr std::int64_t kMostItems = std::numeric_limits<int>::max() - kMostItemBlocks;  // a block's next one is an int

std::size_t align_up(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

using util::refuse;

SplitShape shape_of(const Spec& spec, const Arch& arch) {
  const auto split = description(*spec.kind()).split;
  if (split == nullptr) refuse(fmt::format("{} takes no plan of its own", spec.kernel()));
  return split(spec, arch);
}

void check_limits(const PlanLimits& limits) {
  const auto require = [](bool is_right, const char* name, std::int64_t value, const std::string& allowed) {
    if (!is_right) refuse(fmt::format("limits.{} is {}; allowed: {}", name, value, allowed));
  };
  require(limits.max_batch >= 0, "max_batch", limits.max_batch, "0 (of the batch) or a number of requests");
  require(limits.max_pages >= 0, "max_pages", limits.max_pages, "0 or above");
  require(limits.max_qo_rows >= 0, "max_qo_rows", limits.max_qo_rows, "0 (max_batch) or a number of rows");
  require(limits.split_pages >= 0, "split_pages", limits.split_pages, "0 (choose) or a number of pages");
  require(limits.max_items == 0 || (limits.max_items >= limits.max_batch && limits.max_items <= kMostItems),
          "max_items", limits.max_items, fmt::format("0 or {} (max_batch) to {}", limits.max_batch, kMostItems));
}

/// Pages in a split, where the limits alone say it; else 0.
int fixed_split(const PlanLimits& limits, const SplitShape& shape) {
  if (limits.split_pages > 0 || !limits.invariant) return limits.split_pages;
  return (kInvariantSplitTokens - 1) / shape.page_size + 1;
}

void check_batch(const PlanBatch& batch, int page_size) {
  const auto& indptr = batch.kv_indptr;
  const auto& last = batch.kv_last_page_len;
  if (indptr.empty()) refuse("kv_indptr is empty; it must have batch + 1 elements");
  if (last.size() != indptr.size() - 1) {
    refuse(fmt::format("kv_last_page_len has {} elements; kv_indptr has {}, so that {} are needed", last.size(),
                       indptr.size(), indptr.size() - 1));
  }
  if (indptr[0] < 0) refuse(fmt::format("kv_indptr[0] is {}; allowed: 0 or above", indptr[0]));
  for (std::size_t b = 0; b < last.size(); ++b) {
    if (indptr[b + 1] < indptr[b]) {
      refuse(fmt::format("kv_indptr[{}] is {}, below kv_indptr[{}] = {}; it must never fall", b + 1, indptr[b + 1], b,
                         indptr[b]));
    }
    const std::int64_t pages = std::int64_t{indptr[b + 1]} - indptr[b];
    if (pages == 0) continue;
    if (last[b] < 1 || last[b] > page_size) {
      refuse(fmt::format("kv_last_page_len[{}] is {}; allowed for a request with pages: 1..{} (page_size)", b, last[b],
                         page_size));
    }
    if ((pages - 1) * page_size + last[b] > std::numeric_limits<std::int32_t>::max()) {
      refuse(fmt::format("request {} has {} pages of {} tokens; at most 2^31 - 1 tokens are allowed", b, pages,
                         page_size));
    }
  }
}

/// Everything of a plan that goes to the device, but the header.
struct Tables {
  std::vector<WorkItem> items;
  std::vector<std::int32_t> merge_requests;
  std::vector<std::int32_t> merge_indptr{0};
};

Tables cut_into_items(std::span<const std::int32_t> kv_indptr, int split_pages) {
  Tables tables;
  int slots = 0;
  for (std::size_t b = 0; b + 1 < kv_indptr.size(); ++b) {
    const int pages = kv_indptr[b + 1] - kv_indptr[b];
    const int splits = plan::split_count(pages, split_pages);
    for (int s = 0; s < splits; ++s) {
      tables.items.push_back(plan::split_item(static_cast<int>(b), pages, split_pages, s, slots));
    }
    if (splits > 1) {
      slots += splits;
      tables.merge_requests.push_back(static_cast<std::int32_t>(b));
      tables.merge_indptr.push_back(slots);
    }
  }
  return tables;
}

template <class T>
void put(std::vector<std::byte>& bytes, std::size_t offset, std::span<const T> values) {
  if (!values.empty()) std::memcpy(bytes.data() + offset, values.data(), values.size_bytes());
}

long long count_items(std::span<const std::int32_t> indptr, int split_pages) {
  long long items = 0;
  for (std::size_t b = 0; b + 1 < indptr.size(); ++b)
    items += plan::split_count(indptr[b + 1] - indptr[b], split_pages);
  return items;
}

int choose_split_pages(std::span<const std::int32_t> indptr, const SplitShape& shape, int resident_blocks,
                       std::int64_t max_items) {
  plan::SplitQuestion question{.max_pages = 0,
                               .page_size = shape.page_size,
                               .blocks_per_item = shape.blocks_per_item,
                               .resident_blocks = resident_blocks,
                               .max_items = max_items,
                               .costs = {shape.tokens_per_item, shape.tokens_per_merge}};
  for (std::size_t b = 0; b + 1 < indptr.size(); ++b) {
    question.max_pages = std::max(question.max_pages, indptr[b + 1] - indptr[b]);
  }
  return plan::choose_split_pages(question, [&](int split_pages) { return count_items(indptr, split_pages); });
}

std::int64_t most_items(const PlanLimits& limits, const SplitShape& shape, const PlanDevice& device) {
  const std::int64_t batch = limits.max_batch;
  if (!device.may_split) return batch;
  if (limits.max_items > 0) return limits.max_items;
  // Each item after a request's first has a page at least, and with a fixed split a whole split.
  const int split = fixed_split(limits, shape);
  if (split > 0) return batch + limits.max_pages / split;
  return batch +
         std::min<std::int64_t>(limits.max_pages, (2LL * device.resident_blocks - 1) / shape.blocks_per_item + 1);
}

/// @param slots partial rows of each head
detail::WorkspaceLayout lay_out(int max_items, int max_merges, int slots, const SplitShape& shape) {
  detail::WorkspaceLayout layout;
  if (max_items == 0) return layout;
  const auto merges = static_cast<std::size_t>(max_merges);
  const std::size_t rows = static_cast<std::size_t>(slots) * static_cast<std::size_t>(shape.heads);
  layout.merge_requests = align_up(sizeof(PlanHeader));
  layout.merge_indptr = align_up(layout.merge_requests + merges * sizeof(std::int32_t));
  layout.items = align_up(layout.merge_indptr + (merges + 1) * sizeof(std::int32_t));
  layout.partial_stats = align_up(layout.items + static_cast<std::size_t>(max_items) * sizeof(WorkItem));
  layout.partial_out = align_up(layout.partial_stats + rows * sizeof(PartialStats));
  layout.total_bytes = align_up(layout.partial_out + rows * static_cast<std::size_t>(shape.head_dim) * sizeof(float));
  return layout;
}

/// @param limits all set
detail::PlanFrame frame_of(const Spec& spec, const PlanLimits& limits, int max_merges, int slots,
                           const SplitShape& shape) {
  detail::PlanFrame frame{limits, max_merges, lay_out(limits.max_items, max_merges, slots, shape), 0};
  const std::string text =
      fmt::format("{}|{} {} {} {} {} {} {} {}", to_string(spec), limits.max_batch, limits.max_pages, limits.max_qo_rows,
                  limits.split_pages, limits.invariant, limits.max_items, max_merges, slots);
  const util::Digest digest = util::hash(text);
  std::memcpy(&frame.mark, digest.data(), sizeof(frame.mark));
  frame.mark |= 1;  // not that of memory full of zeros
  return frame;
}

void check_fits(const PlanLimits& limits, std::int64_t batch, std::int64_t pages) {
  const auto require = [](std::int64_t value, const char* what, const char* name, std::int64_t limit) {
    if (value > limit)
      refuse(fmt::format("the batch has {} {}; allowed: up to limits.{}={}", value, what, name, limit));
  };
  require(batch, "requests", "max_batch", limits.max_batch);
  require(batch, "query rows", "max_qo_rows", limits.max_qo_rows);
  require(pages, "pages", "max_pages", limits.max_pages);
}

}  // namespace

detail::PlanFrame make_frame(const Spec& spec, const PlanLimits& limits, const PlanDevice& device) {
  const SplitShape shape = shape_of(spec, device.arch);
  check_limits(limits);
  if (limits.max_batch == 0) refuse("limits.max_batch is 0; allowed here: 1 and above");
  const std::int64_t items = most_items(limits, shape, device);
  if (items > kMostItems) {
    refuse(fmt::format("limits.max_batch={} and limits.max_pages={} come to {} work items; allowed: up to {}",
                       limits.max_batch, limits.max_pages, items, kMostItems));
  }
  PlanLimits set = limits;
  if (set.max_qo_rows == 0) set.max_qo_rows = set.max_batch;
  set.max_items = static_cast<int>(items);
  const int max_merges = device.may_split ? std::min(set.max_batch, set.max_items / 2) : 0;
  return frame_of(spec, set, max_merges, max_merges > 0 ? set.max_items : 0, shape);
}

detail::PlanImpl make_plan(const Spec& spec, const PlanBatch& batch, const PlanLimits& limits,
                           const PlanDevice& device) {
  const SplitShape shape = shape_of(spec, device.arch);
  check_limits(limits);
  check_batch(batch, shape.page_size);

  detail::PlanImpl plan;
  plan.spec = spec;
  plan.batch = static_cast<int>(batch.kv_last_page_len.size());
  const std::int64_t pages = std::int64_t{batch.kv_indptr.back()} - batch.kv_indptr.front();
  const bool of_batch = limits.max_batch == 0;
  PlanLimits used = limits;
  if (of_batch) {
    used.max_batch = plan.batch;
    used.max_pages = pages;
    used.max_qo_rows = plan.batch;
  } else {
    plan.frame = make_frame(spec, limits, device);
    used = plan.frame.limits;
    check_fits(used, plan.batch, pages);
  }
  const int fixed = fixed_split(limits, shape);
  const std::int64_t max_items = std::min(most_items(used, shape, device), kMostItems);
  plan.split_pages = !device.may_split ? std::numeric_limits<int>::max()
                     : fixed != 0      ? fixed
                                       : choose_split_pages(batch.kv_indptr, shape, device.resident_blocks, max_items);
  if (const long long items = count_items(batch.kv_indptr, plan.split_pages); items > max_items) {
    refuse(fmt::format("splits of {} pages make {} work items of the batch; allowed: up to limits.max_items={}",
                       plan.split_pages, items, max_items));
  }
  Tables tables = cut_into_items(batch.kv_indptr, plan.split_pages);
  plan.num_work_items = static_cast<int>(tables.items.size());
  plan.num_split_requests = static_cast<int>(tables.merge_requests.size());
  if (of_batch) {
    used.max_items = plan.num_work_items;
    plan.frame = frame_of(spec, used, plan.num_split_requests, tables.merge_indptr.back(), shape);
  }
  // Where the limits allow no page, page ids and pages may be null: whatever the device's lengths say, nothing is read.
  if (used.max_pages == 0) {
    for (WorkItem& item : tables.items) item.page_end = 0;
  }
  if (used.max_items == 0) return plan;
  // Each block looks at an entry before it knows whether that is an item.
  tables.items.resize(std::max<std::size_t>(tables.items.size(), std::min(used.max_items, kMostItemBlocks)));
  const detail::WorkspaceLayout& layout = plan.frame.layout;
  const PlanHeader header{plan.frame.mark, plan.num_work_items, plan.num_split_requests};
  plan.tables.resize(layout.items + tables.items.size() * sizeof(WorkItem));
  put(plan.tables, 0, std::span(&header, 1));
  put<std::int32_t>(plan.tables, layout.merge_requests, tables.merge_requests);
  put<std::int32_t>(plan.tables, layout.merge_indptr, tables.merge_indptr);
  put<WorkItem>(plan.tables, layout.items, tables.items);
  return plan;
}

}  // namespace librt::api

namespace librt {

Plan::Plan(std::shared_ptr<const detail::PlanImpl> impl) noexcept : impl_(std::move(impl)) {}
Plan::Plan(const Plan&) = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(const Plan&) = default;
Plan& Plan::operator=(Plan&&) noexcept = default;
Plan::~Plan() = default;

const detail::PlanImpl& Plan::impl() const {
  if (impl_ == nullptr) throw Error(ErrorCode::invalid_argument, "this Plan was moved from");
  return *impl_;
}

int Plan::batch() const noexcept {
  return impl_ ? impl_->batch : 0;
}
const PlanLimits& Plan::limits() const noexcept {
  static constexpr PlanLimits kNone{};
  return impl_ ? impl_->frame.limits : kNone;
}
int Plan::split_pages() const noexcept {
  return impl_ ? impl_->split_pages : 0;
}
int Plan::num_work_items() const noexcept {
  return impl_ ? impl_->num_work_items : 0;
}
int Plan::num_split_requests() const noexcept {
  return impl_ ? impl_->num_split_requests : 0;
}
std::size_t Plan::workspace_bytes() const noexcept {
  return impl_ ? impl_->frame.layout.total_bytes : 0;
}

}  // namespace librt
