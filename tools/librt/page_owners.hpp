// Which request owns which page of a dump: the page table checked, then turned around.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/librt/cache_dump.hpp"

namespace librt::tool {

/// A page-table entry that a request owns.
struct PageOwner {
  std::int64_t page = 0;
  std::int64_t request = 0;
  std::int64_t index = 0;        ///< the request's index-th page
  std::int64_t valid_slots = 0;  ///< 0 if the request's length is not known
};

class PageOwners {
 public:
  /// Checks kv_indptr, kv_indices, kv_last_page_len and qo_indptr, and tells who shares pages.
  PageOwners(const CacheDump& dump, Findings& findings);

  /// In the order of requests.
  std::span<const PageOwner> of(std::int64_t page) const;
  /// Slots from here on are padding for everyone.
  std::int64_t valid_slots(std::int64_t page) const;
  /// False if a part of the table could not be read, so that what looks like padding may not be.
  bool complete() const { return complete_; }

 private:
  void read_requests(const CacheDump& dump, Findings& findings);
  void read_request(const CacheDump& dump, std::size_t request, Findings& findings);
  std::int64_t last_page_len(const CacheDump& dump, std::size_t request, std::int64_t pages, Findings& findings);
  void note_unowned(const CacheDump& dump, FindingList& notes) const;
  void note_shared(const CacheDump& dump, FindingList& notes) const;

  std::vector<PageOwner> owners_;  // sorted by page, request, index
  bool complete_ = true;
};

}  // namespace librt::tool
