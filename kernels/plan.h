// How one request is cut into work items, and how large the cuts should be. Builtin types only: the host plan uses it
// now, and a plan on the device can use the same lines.
//
// Splits lie at multiples of `split_pages` from the request's first page, whatever else is in the batch: with a fixed
// split_pages a request is computed in the same pieces, and to the same bits, in every batch.
#pragma once

#include "work.h"

namespace librt::plan {

/// Work items of a request; at least one, because a request without pages needs its rows written too.
/// @param split_pages pages in a split, at least 1
constexpr int split_count(int num_pages, int split_pages) {
  return num_pages <= split_pages ? 1 : (num_pages - 1) / split_pages + 1;
}

/// Past the last page of any request.
constexpr int kOpenEnd = 2147483647;

/// The split with this index out of split_count. The last one is open at its end, so that a request that has grown
/// since loses no token: it takes longer then, and a new plan makes it fast again.
/// @param first_slot partial row of the request's first split; not looked at if the request has one split only
constexpr WorkItem split_item(int request, int num_pages, int split_pages, int index, int first_slot) {
  const int begin = index * split_pages;
  const bool is_last = num_pages - begin <= split_pages;
  const bool is_split = num_pages > split_pages;
  return {request, begin, is_last ? kOpenEnd : begin + split_pages, is_split ? first_slot + index : -1};
}

/// What the choice of split_pages depends on.
struct SplitQuestion {
  int max_pages;  // of the longest request of the batch
  int page_size;
  int blocks_per_item;  // KV heads, or blocks of query rows
  int resident_blocks;  // that the device runs at a time
  long long max_items;  // at least one a request
  SplitCosts costs;
};

/// Estimated time of a batch, in tokens that a block reads.
constexpr long long estimated_tokens(const SplitQuestion& question, int split_pages, long long num_items) {
  const long long resident = question.resident_blocks > 0 ? question.resident_blocks : 1;
  const long long waves = (num_items * question.blocks_per_item + resident - 1) / resident;
  const long long pages = split_pages < question.max_pages ? split_pages : question.max_pages;
  const long long merge = split_pages < question.max_pages ? question.costs.per_merge : 0;
  return waves * (pages * question.page_size + question.costs.per_item) + merge;
}

/// The cheapest split by the estimate; among equals the one with fewer items.
/// @param count_items long long(int split_pages): the sum of split_count over the batch
/// @return at least 1
template <class CountItems>
constexpr int choose_split_pages(const SplitQuestion& question, const CountItems& count_items) {
  constexpr int kMostSplits = 256;  // of one request; beyond it a merge costs more than it brings
  int best = question.max_pages > 0 ? question.max_pages : 1;
  long long best_tokens = estimated_tokens(question, best, count_items(best));
  for (int splits = 2; splits <= kMostSplits && splits <= question.max_pages; ++splits) {
    const int split_pages = (question.max_pages - 1) / splits + 1;
    const long long num_items = count_items(split_pages);
    if (num_items > question.max_items) continue;
    const long long tokens = estimated_tokens(question, split_pages, num_items);
    if (tokens < best_tokens) {
      best = split_pages;
      best_tokens = tokens;
    }
    // From here on a single wave cannot be had, and each further split adds its fixed cost.
    if (num_items * question.blocks_per_item > 8LL * question.resident_blocks) break;
  }
  return best;
}

}  // namespace librt::plan
