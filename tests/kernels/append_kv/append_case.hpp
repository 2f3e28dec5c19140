// New tokens of a step, and the pages before and after, on the host.
#pragma once

#include <librt/librt.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace librt::test {

using Bits = std::uint16_t;

enum class Layout { nhd, hnd, padded };

/// One of the two tensors: new rows, and the pages that they go to.
struct AppendPart {
  int dim = 0;
  std::int64_t row_stride = 0, row_head_stride = 0;
  std::int64_t page_stride = 0, token_stride = 0, head_stride = 0;
  std::vector<Bits> rows{}, pages{};

  std::size_t row_at(int token, int head) const {
    return static_cast<std::size_t>(token * row_stride + head * row_head_stride);
  }
  std::size_t page_at(int page, int slot, int head) const {
    return static_cast<std::size_t>(page * page_stride + slot * token_stride + head * head_stride);
  }
};

/// Where each new token goes: so many tokens from a position on, for each request.
struct AppendRequest {
  int pages = 0;
  std::vector<int> positions{};
};

struct AppendCase {
  AppendCase(const std::string& text, const std::vector<AppendRequest>& requests, Layout layout, unsigned seed)
      : spec(parse_spec(text)), heads(spec.get("num_kv_heads")), page_size(spec.get("page_size")) {
    std::mt19937 random(seed);
    std::vector<std::int32_t> pool(kPages);
    for (int i = 0; i < kPages; ++i) pool[static_cast<std::size_t>(i)] = i;
    std::shuffle(pool.begin(), pool.end(), random);
    kv_indptr = {3};  // entries that nobody owns come first
    kv_indices = {-7, 1 << 30, 0};
    append_indptr = {0};
    std::size_t taken = 0;
    for (const AppendRequest& request : requests) {
      for (int i = 0; i < request.pages; ++i) kv_indices.push_back(pool.at(taken++));
      positions.insert(positions.end(), request.positions.begin(), request.positions.end());
      kv_indptr.push_back(static_cast<std::int32_t>(kv_indices.size()));
      append_indptr.push_back(static_cast<std::int32_t>(positions.size()));
    }
    for (AppendPart* const part : {&k, &v}) {
      part->dim = spec.get(part == &k ? "head_dim" : "head_dim_vo");
      const int gap = layout == Layout::padded ? 8 : 0;
      part->row_head_stride = part->dim + gap;
      part->row_stride = heads * part->row_head_stride + 2 * gap;
      const std::int64_t inner = part->dim + gap;
      part->head_stride = layout == Layout::hnd ? page_size * inner : inner;
      part->token_stride = layout == Layout::hnd ? inner : heads * inner + gap;
      part->page_stride = page_size * heads * inner + (page_size + 1) * gap;
      const auto numbers = [&](std::int64_t count) {
        std::vector<Bits> bits(static_cast<std::size_t>(count));
        for (Bits& each : bits) each = static_cast<Bits>(random());  // NaN with payloads among them
        return bits;
      };
      part->rows = numbers(total_new() * part->row_stride);
      part->pages = numbers(kPages * part->page_stride);
    }
  }

  static constexpr int kPages = 24;

  int batch() const { return static_cast<int>(append_indptr.size()) - 1; }
  int total_new() const { return static_cast<int>(positions.size()); }

  /// What the pages hold afterwards: the rows in their slots, and nothing else changed.
  std::vector<Bits> expected(const AppendPart& part) const {
    std::vector<Bits> pages = part.pages;
    for (int b = 0; b < batch(); ++b) {
      const auto request = static_cast<std::size_t>(b);
      for (int token = append_indptr[request]; token < append_indptr[request + 1]; ++token) {
        const int position = positions[static_cast<std::size_t>(token)];
        const int page = kv_indices[static_cast<std::size_t>(kv_indptr[request] + position / page_size)];
        for (int head = 0; head < heads; ++head) {
          const auto from = part.rows.begin() + static_cast<std::ptrdiff_t>(part.row_at(token, head));
          const std::size_t to = part.page_at(page, position % page_size, head);
          std::copy_n(from, part.dim, pages.begin() + static_cast<std::ptrdiff_t>(to));
        }
      }
    }
    return pages;
  }

  Spec spec;
  int heads, page_size;
  AppendPart k{}, v{};
  std::vector<std::int32_t> append_indptr{}, positions{}, kv_indptr{}, kv_indices{};
};

/// Requests of several lengths: the first tokens of a page, its last, over a page's end, none, and in any order.
inline std::vector<AppendRequest> some_requests(int page_size) {
  const int last = 3 * page_size - 1;
  return {{.pages = 3, .positions = {last}},
          {.pages = 2, .positions = {}},
          {.pages = 4, .positions = {page_size - 1, page_size, page_size + 1}},
          {},
          {.pages = 1, .positions = {0}},
          {.pages = 3, .positions = {page_size, 0, last}}};
}

}  // namespace librt::test
