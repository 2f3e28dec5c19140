#include "kernels/plan.h"

#include <librt/error.hpp>
#include <librt/kernel.hpp>
#include <librt/kernel_kind.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/work.h"
#include "src/api/plan_impl.hpp"

namespace librt::api {
namespace {

constexpr std::size_t kAlignment = 256;

std::size_t align_up(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct Shape : SplitShape {
  SplitCosts costs;
};

Shape shape_of(const Spec& spec, const Arch& arch) {
  const auto split = description(*spec.kind()).split;
  if (split == nullptr) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} takes no plan of its own", spec.kernel()));
  }
  const SplitShape shape = split(spec, arch);
  return {shape, {shape.tokens_per_item, shape.tokens_per_merge}};
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

void check_inputs(const PlanInputs& inputs, int page_size) {
  const auto& indptr = inputs.kv_indptr;
  const auto& last = inputs.kv_last_page_len;
  if (indptr.empty()) refuse("kv_indptr is empty; it must have batch + 1 elements");
  if (last.size() != indptr.size() - 1) {
    refuse(fmt::format("kv_last_page_len has {} elements; kv_indptr has {}, so that {} are needed", last.size(),
                       indptr.size(), indptr.size() - 1));
  }
  if (inputs.split_pages < 0) {
    refuse(fmt::format("split_pages is {}; allowed: 0 (choose) or a number of pages", inputs.split_pages));
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

/// Everything that is uploaded with a launch.
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
      // Where no request has a page, page ids and pages may be null: whatever the device's lengths say, nothing is
      // read.
      if (kv_indptr.back() == kv_indptr.front()) tables.items.back().page_end = 0;
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
void put(std::vector<std::byte>& bytes, std::size_t offset, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(T));
}

int choose_split_pages(const PlanInputs& inputs, const Shape& shape) {
  const auto& indptr = inputs.kv_indptr;
  plan::SplitQuestion question{.max_pages = 0,
                               .page_size = shape.page_size,
                               .blocks_per_item = shape.blocks_per_item,
                               .resident_blocks = inputs.resident_blocks,
                               .costs = shape.costs};
  for (std::size_t b = 0; b + 1 < indptr.size(); ++b) {
    question.max_pages = std::max(question.max_pages, indptr[b + 1] - indptr[b]);
  }
  return plan::choose_split_pages(question, [&](int split_pages) {
    long long items = 0;
    for (std::size_t b = 0; b + 1 < indptr.size(); ++b) {
      items += plan::split_count(indptr[b + 1] - indptr[b], split_pages);
    }
    return items;
  });
}

detail::WorkspaceLayout lay_out(const Tables& tables, const Shape& shape) {
  detail::WorkspaceLayout layout;
  if (tables.items.empty()) return layout;
  const std::size_t rows = static_cast<std::size_t>(tables.merge_indptr.back()) * static_cast<std::size_t>(shape.heads);
  layout.merge_requests = align_up(tables.items.size() * sizeof(WorkItem));
  layout.merge_indptr = align_up(layout.merge_requests + tables.merge_requests.size() * sizeof(std::int32_t));
  layout.table_bytes = align_up(layout.merge_indptr + tables.merge_indptr.size() * sizeof(std::int32_t));
  layout.partial_stats = layout.table_bytes;
  layout.partial_out = align_up(layout.partial_stats + rows * sizeof(PartialStats));
  layout.total_bytes = align_up(layout.partial_out + rows * static_cast<std::size_t>(shape.head_dim) * sizeof(float));
  return layout;
}

}  // namespace

detail::PlanImpl make_plan(const Spec& spec, const PlanInputs& inputs) {
  const Shape shape = shape_of(spec, inputs.arch);
  check_inputs(inputs, shape.page_size);

  detail::PlanImpl plan;
  plan.spec = spec;
  plan.batch = static_cast<int>(inputs.kv_last_page_len.size());
  plan.split_pages = !inputs.may_split         ? std::numeric_limits<int>::max()
                     : inputs.split_pages != 0 ? inputs.split_pages
                                               : choose_split_pages(inputs, shape);
  const Tables tables = cut_into_items(inputs.kv_indptr, plan.split_pages);
  plan.num_work_items = static_cast<int>(tables.items.size());
  plan.num_split_requests = static_cast<int>(tables.merge_requests.size());
  plan.owns_pages = inputs.kv_indptr.back() > inputs.kv_indptr.front();
  plan.layout = lay_out(tables, shape);
  plan.tables.resize(plan.layout.table_bytes);
  put(plan.tables, plan.layout.work_items, tables.items);
  if (plan.num_work_items > 0) {
    put(plan.tables, plan.layout.merge_requests, tables.merge_requests);
    put(plan.tables, plan.layout.merge_indptr, tables.merge_indptr);
  }
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
  return impl_ ? impl_->layout.total_bytes : 0;
}

}  // namespace librt
