#include "tools/librt/page_owners.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <tuple>

namespace librt::tool {
namespace {

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();

void element_problem(FindingList& problems, const std::string& kind, const std::string& tensor, std::size_t element,
                     std::int64_t value, const std::string& what) {
  problems.add(kind, fmt::format("tensor {}: element {} is {}{}", tensor, element, value, what),
               {{"tensor", tensor}, {"element", element}, {"value", value}});
}

/// One query row for each request without qo_indptr; else qo_indptr must cover the rows.
void check_query_rows(const CacheDump& dump, Findings& findings) {
  if (!dump.kv_indptr || dump.kv_indptr->empty()) return;
  const auto batch = static_cast<std::int64_t>(dump.kv_indptr->size()) - 1;
  if (!dump.qo_indptr) {
    for (const DumpTensor& query : dump.queries) {
      if (query.rows == batch) continue;
      findings.problems.add("length",
                            fmt::format("tensor {} has {} rows, but kv_indptr makes {} requests, each with one",
                                        query.name, query.rows, batch),
                            {{"tensor", query.name}, {"value", query.rows}});
    }
    return;
  }
  const auto& qo_indptr = *dump.qo_indptr;
  if (qo_indptr.size() != dump.kv_indptr->size()) {
    findings.problems.add("length",
                          fmt::format("tensor qo_indptr has {} elements, but kv_indptr has {}; they must be as many",
                                      qo_indptr.size(), dump.kv_indptr->size()),
                          {{"tensor", "qo_indptr"}, {"value", qo_indptr.size()}});
    return;
  }
  if (qo_indptr[0] != 0) element_problem(findings.problems, "length", "qo_indptr", 0, qo_indptr[0], "; it must be 0");
  for (std::size_t i = 1; i < qo_indptr.size(); ++i) {
    if (qo_indptr[i] < qo_indptr[i - 1]) {
      element_problem(findings.problems, "length", "qo_indptr", i, qo_indptr[i],
                      fmt::format(", below the {} before it; it must never fall", qo_indptr[i - 1]));
    }
  }
  if (!dump.queries.empty() && qo_indptr.back() != dump.queries[0].rows) {
    element_problem(findings.problems, "length", "qo_indptr", qo_indptr.size() - 1, qo_indptr.back(),
                    fmt::format(", but {} has {} rows", dump.queries[0].name, dump.queries[0].rows));
  }
  for (std::size_t i = 1; i < qo_indptr.size(); ++i) {
    if (qo_indptr[i] - qo_indptr[i - 1] == 1) continue;
    findings.notes.add("unsupported", fmt::format("qo_indptr gives {} query tokens to request {}; it is checked, but "
                                                  "`librt run` takes one for each",
                                                  qo_indptr[i] - qo_indptr[i - 1], i - 1));
    return;
  }
}

}  // namespace

PageOwners::PageOwners(const CacheDump& dump, Findings& findings) {
  check_query_rows(dump, findings);
  if (dump.kv_indptr && dump.kv_indptr->empty()) {
    findings.problems.add("length", "tensor kv_indptr has no elements; it must have batch + 1",
                          {{"tensor", "kv_indptr"}, {"value", 0}});
  }
  if (!dump.kv_indptr || dump.kv_indptr->empty() || !dump.kv_indices || dump.page_size == 0) {
    complete_ = false;
    findings.notes.add("not_checked", "page ids and lengths: that takes kv_indptr, kv_indices and the pages");
    return;
  }
  read_requests(dump, findings);
  std::sort(owners_.begin(), owners_.end(), [](const PageOwner& a, const PageOwner& b) {
    return std::tie(a.page, a.request, a.index) < std::tie(b.page, b.request, b.index);
  });
  note_unowned(dump, findings.notes);
  note_shared(dump, findings.notes);
}

void PageOwners::read_requests(const CacheDump& dump, Findings& findings) {
  const auto& indptr = *dump.kv_indptr;
  const std::size_t batch = indptr.size() - 1;
  if (dump.kv_last_page_len && dump.kv_last_page_len->size() != batch) {
    findings.problems.add(
        "length",
        fmt::format("tensor kv_last_page_len has {} elements; kv_indptr has {}, so that {} are needed",
                    dump.kv_last_page_len->size(), indptr.size(), batch),
        {{"tensor", "kv_last_page_len"}, {"value", dump.kv_last_page_len->size()}});
  }
  const auto entries = static_cast<std::int64_t>(dump.kv_indices->size());
  std::int64_t highest = 0;  // ranges that begin below it would overlap others
  for (std::size_t i = 0; i < indptr.size(); ++i) {
    const bool falls = i > 0 && indptr[i] < indptr[i - 1];
    if (indptr[i] < 0) {
      element_problem(findings.problems, "length", "kv_indptr", i, indptr[i], "; allowed: 0 or above");
    } else if (falls) {
      element_problem(findings.problems, "length", "kv_indptr", i, indptr[i],
                      fmt::format(", below the {} before it; it must never fall", indptr[i - 1]));
    }
    if (indptr[i] > entries) {
      element_problem(findings.problems, "length", "kv_indptr", i, indptr[i],
                      fmt::format(", past the end of kv_indices, which has {} elements", entries));
    }
    if (i == 0) continue;
    const bool usable = indptr[i - 1] >= highest && indptr[i] >= indptr[i - 1] && indptr[i] <= entries;
    if (usable) {
      highest = indptr[i];
      read_request(dump, i - 1, findings);
    } else {
      complete_ = false;
      findings.notes.add("not_checked", fmt::format("request {}: kv_indptr does not say which pages are its", i - 1),
                         {{"request", i - 1}});
    }
  }
}

void PageOwners::read_request(const CacheDump& dump, std::size_t request, Findings& findings) {
  const auto begin = (*dump.kv_indptr)[request];
  const std::int64_t pages = (*dump.kv_indptr)[request + 1] - begin;
  if (pages == 0) return;
  const std::int64_t last = last_page_len(dump, request, pages, findings);
  if (last == 0) complete_ = false;
  for (std::int64_t index = 0; index < pages; ++index) {
    const auto element = static_cast<std::size_t>(begin + index);
    const std::int64_t page = (*dump.kv_indices)[element];
    if (page >= 0 && page < dump.num_pages) {
      owners_.push_back({page, static_cast<std::int64_t>(request), index, index + 1 < pages ? dump.page_size : last});
      continue;
    }
    complete_ = false;
    findings.problems.add(
        "page_id",
        fmt::format("tensor kv_indices: element {} is {}, but there are {} pages, and request {} owns "
                    "this entry (its page {})",
                    element, page, dump.num_pages, request, index),
        {{"tensor", "kv_indices"},
         {"element", element},
         {"value", page},
         {"request", request},
         {"request_page", index}});
  }
}

/// 0 if it is missing or cannot be.
std::int64_t PageOwners::last_page_len(const CacheDump& dump, std::size_t request, std::int64_t pages,
                                       Findings& findings) {
  if (!dump.kv_last_page_len || request >= dump.kv_last_page_len->size()) return 0;
  const std::int64_t last = (*dump.kv_last_page_len)[request];
  if (last < 1 || last > dump.page_size) {
    element_problem(findings.problems, "length", "kv_last_page_len", request, last,
                    fmt::format("; allowed for a request with pages: 1..{}", dump.page_size));
    return 0;
  }
  if (pages - 1 > (kMaxInt - last) / dump.page_size) {
    element_problem(findings.problems, "length", "kv_indptr", request + 1, (*dump.kv_indptr)[request + 1],
                    fmt::format(", which gives request {} {} pages of {} tokens; at most {} tokens are supported",
                                request, pages, dump.page_size, kMaxInt));
  }
  return last;
}

void PageOwners::note_unowned(const CacheDump& dump, FindingList& notes) const {
  if (!complete_) return;
  const auto& indices = *dump.kv_indices;
  const auto is_wild = [&](std::size_t i) { return indices[i] < 0 || indices[i] >= dump.num_pages; };
  const auto first = static_cast<std::size_t>(dump.kv_indptr->front());
  const auto last = static_cast<std::size_t>(dump.kv_indptr->back());
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if ((i >= first && i < last) || !is_wild(i)) continue;
    notes.add("unowned_entry",
              fmt::format("tensor kv_indices: element {} is {}, but there are {} pages; harmless: no request owns this "
                          "entry",
                          i, indices[i], dump.num_pages),
              {{"tensor", "kv_indices"}, {"element", i}, {"value", indices[i]}});
  }
}

void PageOwners::note_shared(const CacheDump& dump, FindingList& notes) const {
  constexpr std::size_t kMaxNamed = 8;
  for (std::size_t begin = 0, end = 0; begin < owners_.size(); begin = end) {
    while (end < owners_.size() && owners_[end].page == owners_[begin].page) ++end;
    if (end - begin == 1) continue;
    const std::span<const PageOwner> owners(owners_.data() + begin, end - begin);
    const bool repeated = owners.front().request == owners.back().request;
    const std::string kind = repeated ? "repeated_page" : "shared_page";
    if (notes.only_counts(kind)) {
      notes.count(kind);
      continue;
    }
    std::vector<std::string> named;
    Json list = Json::array();
    for (const PageOwner& owner : owners.first(std::min(owners.size(), kMaxNamed))) {
      named.push_back(
          fmt::format("request {} (its page {}, {} valid slots)", owner.request, owner.index, owner.valid_slots));
      list.push_back({{"request", owner.request}, {"request_page", owner.index}, {"valid_slots", owner.valid_slots}});
    }
    if (owners.size() > kMaxNamed) named.push_back(fmt::format("{} more", owners.size() - kMaxNamed));
    const auto open = std::count_if(owners.begin(), owners.end(),
                                    [&](const PageOwner& owner) { return owner.valid_slots < dump.page_size; });
    std::string what = fmt::format(
        "page {} is {}: {}", owners.front().page,
        repeated ? "more than once in one request, whose tokens there count as often" : "shared by several requests",
        fmt::join(named, ", "));
    if (open > 1) what += "; more than one of them would write its next token into it";
    notes.add(kind, std::move(what), {{"page", owners.front().page}, {"owners", std::move(list)}});
  }
}

std::span<const PageOwner> PageOwners::of(std::int64_t page) const {
  const auto begin =
      std::partition_point(owners_.begin(), owners_.end(), [&](const PageOwner& owner) { return owner.page < page; });
  const auto end =
      std::partition_point(begin, owners_.end(), [&](const PageOwner& owner) { return owner.page == page; });
  return {begin, end};
}

std::int64_t PageOwners::valid_slots(std::int64_t page) const {
  std::int64_t slots = 0;
  for (const PageOwner& owner : of(page)) slots = std::max(slots, owner.valid_slots);
  return slots;
}

}  // namespace librt::tool
