#include "tools/librt/check_values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

namespace librt::tool {
namespace {

/// Whether any element is NaN or Inf, eight bytes at a time: nearly all of a cache is neither, and it may be large.
bool has_special(std::span<const std::byte> bytes, const ElementFormat& format) {
  const std::uint64_t lanes = format.bytes == 1 ? 0x0101010101010101 : 0x0001000100010001;
  const std::uint64_t ones = lanes * format.all_ones;
  const std::uint64_t top = lanes * (format.bytes == 1 ? 0x80 : 0x8000);
  const std::uint64_t rest = top - lanes;  // all bits of a lane below its top bit
  std::size_t offset = 0;
  for (; offset + 8 <= bytes.size(); offset += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + offset, 8);
    // A lane of ~word & ones is 0 for NaN and Inf; adding `rest` sets the top bit of every other lane, without a carry.
    if ((((~word & ones) + rest) & top) != top) return true;
  }
  for (; offset < bytes.size(); offset += format.bytes) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + offset, format.bytes);
    if (format.is_special(bits)) return true;
  }
  return false;
}

/// What a row holds.
struct Specials {
  std::size_t nan = 0;
  std::size_t inf = 0;
  std::size_t first = 0;  // element
  std::uint16_t first_bits = 0;

  bool any() const { return nan + inf > 0; }
};

Specials specials_of(std::span<const std::byte> row, const ElementFormat& format) {
  Specials found;
  for (std::size_t element = 0; element * format.bytes < row.size(); ++element) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, row.data() + element * format.bytes, format.bytes);
    if (!format.is_special(bits)) continue;
    if (!found.any()) {
      found.first = element;
      found.first_bits = bits;
    }
    ++(format.is_inf(bits) ? found.inf : found.nan);
  }
  return found;
}

std::string value_words(const Specials& found, const ElementFormat& format) {
  if (!format.is_inf(found.first_bits)) return "NaN";
  return (found.first_bits & 0x8000) != 0 ? "-Inf" : "+Inf";
}

std::string more_words(const Specials& found) {
  const std::size_t more = found.nan + found.inf - 1;
  return more == 0 ? "" : fmt::format("; {} more in this row", more);
}

Json place(const DumpTensor& tensor, const Specials& found) {
  return {{"tensor", tensor.name},
          {"element", found.first},
          {"value", value_words(found, tensor.format)},
          {"bits", fmt::format("0x{:0{}x}", found.first_bits, 2 * tensor.format.bytes)},
          {"nan_in_row", found.nan},
          {"inf_in_row", found.inf}};
}

// --- queries ---

/// The request of a query row; none if qo_indptr does not say.
std::optional<std::int64_t> request_of(const CacheDump& dump, std::int64_t row) {
  if (!dump.qo_indptr) return row;
  const auto& indptr = *dump.qo_indptr;
  if (!std::is_sorted(indptr.begin(), indptr.end())) return {};
  const auto after = std::upper_bound(indptr.begin(), indptr.end(), row);
  if (after == indptr.begin() || after == indptr.end()) return {};
  return after - indptr.begin() - 1;
}

void check_query(const CacheDump& dump, const DumpTensor& query, FindingList& problems) {
  const std::string kind = "query_value";
  const std::size_t row_bytes = static_cast<std::size_t>(query.dim) * query.format.bytes;
  for (std::int64_t row = 0; row < query.rows; ++row) {
    for (std::int64_t head = 0; head < query.heads; ++head) {
      const auto bytes = query.bytes.subspan(static_cast<std::size_t>(row * query.heads + head) * row_bytes, row_bytes);
      if (!has_special(bytes, query.format)) continue;
      if (problems.only_counts(kind)) {
        problems.count(kind);
        continue;
      }
      const Specials found = specials_of(bytes, query.format);
      const auto request = request_of(dump, row);
      Json where = place(query, found);
      where["request"] = request ? Json(*request) : Json();
      where.update({{"row", row}, {"head", head}});
      problems.add(kind,
                   fmt::format("tensor {} holds {}: request {}, row {}, head {}, element {}{}", query.name,
                               value_words(found, query.format), request ? std::to_string(*request) : "unknown", row,
                               head, found.first, more_words(found)),
                   std::move(where));
    }
  }
}

// --- pages ---

class PageScan {
 public:
  PageScan(const CacheDump& dump, const PageOwners& owners, const DumpTensor& tensor, Findings& findings)
      : dump_(dump),
        owners_(owners),
        tensor_(tensor),
        findings_(findings),
        row_bytes_(static_cast<std::size_t>(tensor.dim) * tensor.format.bytes) {}

  void run() {
    const std::size_t page_bytes = static_cast<std::size_t>(dump_.page_size * dump_.kv_heads) * row_bytes_;
    for (std::int64_t page = 0; page < dump_.num_pages; ++page) {
      if (!has_special(tensor_.bytes.subspan(static_cast<std::size_t>(page) * page_bytes, page_bytes),
                       tensor_.format)) {
        continue;
      }
      const std::int64_t valid_slots = owners_.valid_slots(page);
      for (std::int64_t slot = 0; slot < dump_.page_size; ++slot) {
        for (std::int64_t head = 0; head < dump_.kv_heads; ++head) {
          const auto row = row_of(page, slot, head);
          if (!has_special(row, tensor_.format)) continue;
          slot < valid_slots ? valid_row(page, slot, head, row) : padding_row(page, slot, head, row);
        }
      }
    }
    if (padding_nan_ + padding_inf_ > 0) note_padding();
  }

 private:
  std::span<const std::byte> row_of(std::int64_t page, std::int64_t slot, std::int64_t head) const {
    const std::int64_t row = dump_.hnd ? (page * dump_.kv_heads + head) * dump_.page_size + slot
                                       : (page * dump_.page_size + slot) * dump_.kv_heads + head;
    return tensor_.bytes.subspan(static_cast<std::size_t>(row) * row_bytes_, row_bytes_);
  }

  void valid_row(std::int64_t page, std::int64_t slot, std::int64_t head, std::span<const std::byte> row) {
    const std::string kind = "value";
    if (findings_.problems.only_counts(kind)) {
      findings_.problems.count(kind);
      return;
    }
    const Specials found = specials_of(row, tensor_.format);
    const auto owners = owners_.of(page);
    const auto reads_it = [&](const PageOwner& owner) { return slot < owner.valid_slots; };
    const PageOwner& owner = *std::find_if(owners.begin(), owners.end(), reads_it);
    const auto others = std::count_if(owners.begin(), owners.end(), reads_it) - 1;
    const std::int64_t position = owner.index * dump_.page_size + slot;
    Json where = place(tensor_, found);
    where.update({{"request", owner.request},
                  {"position", position},
                  {"page", page},
                  {"slot", slot},
                  {"head", head},
                  {"other_owners", others}});
    findings_.problems.add(
        kind,
        fmt::format("tensor {} holds {} at a valid position: request {}{}, position {}: page {}, slot {}, head {}, "
                    "element {}{}",
                    tensor_.name, value_words(found, tensor_.format), owner.request,
                    others == 0 ? "" : fmt::format(" (and {} more owners of the page)", others), position, page, slot,
                    head, found.first, more_words(found)),
        std::move(where));
  }

  void padding_row(std::int64_t page, std::int64_t slot, std::int64_t head, std::span<const std::byte> row) {
    const Specials found = specials_of(row, tensor_.format);
    padding_nan_ += found.nan;
    padding_inf_ += found.inf;
    (owners_.of(page).empty() ? in_unused_pages_ : in_tails_) += found.nan + found.inf;
    if (!first_padding_.is_null()) return;
    first_padding_ = place(tensor_, found);
    first_padding_.update({{"page", page}, {"slot", slot}, {"head", head}});
    first_words_ = fmt::format("{} in page {}, slot {}, head {}, element {}", value_words(found, tensor_.format), page,
                               slot, head, found.first);
  }

  void note_padding() {
    findings_.notes.add(
        "padding",
        fmt::format("tensor {} holds {} NaN and {} Inf in padding ({} past the ends of requests, {} in pages that no "
                    "request owns), the first {}. {}. Engines that only mask scores break on it: 0 x NaN is NaN",
                    tensor_.name, padding_nan_, padding_inf_, in_tails_, in_unused_pages_, first_words_,
                    owners_.complete() ? "Harmless here: padding never reaches a result"
                                       : "Harmless here if it is padding, but the page table has problems"),
        {{"tensor", tensor_.name},
         {"nan", padding_nan_},
         {"inf", padding_inf_},
         {"past_the_ends", in_tails_},
         {"in_unused_pages", in_unused_pages_},
         {"first", first_padding_}});
  }

  const CacheDump& dump_;
  const PageOwners& owners_;
  const DumpTensor& tensor_;
  Findings& findings_;
  std::size_t row_bytes_;
  std::size_t padding_nan_ = 0;
  std::size_t padding_inf_ = 0;
  std::size_t in_tails_ = 0;
  std::size_t in_unused_pages_ = 0;
  Json first_padding_;
  std::string first_words_;
};

}  // namespace

void check_values(const CacheDump& dump, const PageOwners& owners, Findings& findings) {
  for (const DumpTensor& query : dump.queries) check_query(dump, query, findings.problems);
  for (const DumpTensor& pages : dump.pages) PageScan(dump, owners, pages, findings).run();
}

}  // namespace librt::tool
