#include "tools/librt/sample_batch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "tools/librt/numbers.hpp"

namespace librt::tool {
namespace {

constexpr int kPoolPages = 8;
constexpr std::array kPageIds = {6, 1, 4, 2};  // the other four pages of the pool belong to nobody

}  // namespace

SampleBatch::SampleBatch(const Spec& spec) {
  const DecodeShape shape = shape_of(spec);
  problem_.spec = spec;
  problem_.batch = 1;
  problem_.num_pages = kPoolPages;
  const int scaled = description(*spec.kind()).scaled_dim;
  problem_.sm_scale = 1.0F / std::sqrt(static_cast<float>(scaled != 0 ? scaled : shape.queries.front().dim));
  problem_.kv_indptr = {0, static_cast<std::int32_t>(kPageIds.size())};
  problem_.kv_indices.assign(kPageIds.begin(), kPageIds.end());
  problem_.kv_last_page_len = {kTokens - kPageSize * (static_cast<int>(kPageIds.size()) - 1)};
  queries_.resize(shape.queries.size());
  pages_.resize(shape.pages.size());
  // In turn, so that the numbers of a batch stay what they are.
  for (std::size_t part = 0; part < std::max(queries_.size(), pages_.size()); ++part) {
    if (part < queries_.size()) {
      fill(queries_[part], shape.heads * shape.queries[part].dim);
      problem_.queries.push_back(std::as_bytes(std::span(queries_[part])));
    }
    if (part < pages_.size()) {
      fill(pages_[part], kPoolPages * kPageSize * shape.kv_heads * shape.pages[part].dim);
      problem_.pages.push_back(std::as_bytes(std::span(pages_[part])));
      problem_.strides.push_back(nhd_strides(shape, part));
    }
  }
}

std::size_t SampleBatch::fill_padding(std::uint16_t bits) {
  const DecodeShape shape = shape_of(problem_.spec);
  std::size_t count = 0;
  for (int page = 0; page < kPoolPages; ++page) {
    const auto* const owner = std::find(kPageIds.begin(), kPageIds.end(), page);
    for (int slot = 0; slot < kPageSize; ++slot) {
      const auto position = static_cast<int>(owner - kPageIds.begin()) * kPageSize + slot;
      if (owner != kPageIds.end() && position < kTokens) continue;
      for (std::size_t part = 0; part < pages_.size(); ++part) {
        const auto row = static_cast<std::size_t>(shape.kv_heads) * static_cast<std::size_t>(shape.pages[part].dim);
        const auto first = static_cast<std::size_t>(page * kPageSize + slot) * row;
        std::fill_n(pages_[part].begin() + static_cast<std::ptrdiff_t>(first), row, bits);
        count += row;
      }
    }
  }
  return count;
}

void SampleBatch::fill(std::vector<std::uint16_t>& values, int count) {
  values.resize(static_cast<std::size_t>(count));
  // Sums of uniform numbers, since std::normal_distribution differs between standard libraries.
  for (std::uint16_t& value : values) {
    float sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<float>(random_() % 65536) / 65536.0F - 0.5F;
    value = bf16_from(sum * 1.7F);
  }
}

}  // namespace librt::tool
