#include "tools/librt/proof_batch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace librt::tool {
namespace {

constexpr int kUnownedPages = 2;
constexpr std::array<std::int32_t, 4> kJunk = {-1, std::numeric_limits<std::int32_t>::max(),
                                               std::numeric_limits<std::int32_t>::min(), 0};

class Random {
 public:
  explicit Random(std::uint32_t seed) : state_(seed) {}
  std::uint32_t next() {
    state_ = state_ * 1664525 + 1013904223;
    return state_ >> 8;
  }

 private:
  std::uint32_t state_;
};

/// A number between 1/2 and 1, or its negative.
std::uint16_t number(Random& random, DType dtype) {
  const std::uint32_t bits = random.next();
  return static_cast<std::uint16_t>(dtype == DType::bf16 ? 0x3f00 | (bits & 0x807f) : 0x3800 | (bits & 0x83ff));
}

PageStrides strides_of(const DecodeShape& shape, std::size_t part, ProofLayout layout) {
  if (layout == ProofLayout::hnd) return hnd_strides(shape, part);
  PageStrides strides = nhd_strides(shape, part);
  if (layout == ProofLayout::nhd) return strides;
  const std::int64_t gap = part == 0 ? 8 : 24;
  strides.head += gap;
  strides.token = shape.kv_heads * strides.head + 2 * gap;
  strides.page = shape.page_size * strides.token + 3 * gap;
  return strides;
}

}  // namespace

ptx::Labels labels_for(unsigned readers, int requests) {
  ptx::Labels labels = readers == 0 ? kPadding : ptx::Labels{0};
  for (int request = 0; request < requests; ++request)
    if ((readers >> request & 1U) == 0) labels |= padding_of(request);
  return labels;
}

ProofBatch::ProofBatch(const Spec& spec, const ProofCase& one, std::uint32_t seed) : shape_(tool::shape_of(spec)) {
  problem_.spec = spec;
  problem_.sm_scale = 0.0625F;
  problem_.batch = static_cast<int>(one.kv_lens.size());
  hand_out_pages(one, seed);
  Random random(seed);
  const auto batch = static_cast<std::size_t>(problem_.batch);
  for (const PartShape& query : shape_.queries) {
    queries_.emplace_back(batch * static_cast<std::size_t>(shape_.heads * query.dim));
    std::ranges::generate(queries_.back(), [&] { return number(random, shape_.dtype); });
  }
  for (std::size_t part = 0; part < shape_.pages.size(); ++part) {
    problem_.strides.push_back(strides_of(shape_, part, one.layout));
    pages_.emplace_back(static_cast<std::size_t>(problem_.num_pages * problem_.strides[part].page));
    std::ranges::generate(pages_.back(), [&] { return number(random, shape_.dtype); });
  }
  point_to_tensors();
  find_readers();
}

ProofBatch::ProofBatch(DecodeProblem problem)
    : problem_(std::move(problem)),
      shape_(tool::shape_of(problem_.spec)),
      planned_kv_indptr_(problem_.kv_indptr),
      planned_last_page_len_(problem_.kv_last_page_len) {
  find_readers();
}

ProofBatch::ProofBatch(const ProofBatch& other)
    : problem_(other.problem_),
      shape_(other.shape_),
      planned_kv_indptr_(other.planned_kv_indptr_),
      planned_last_page_len_(other.planned_last_page_len_),
      readers_(other.readers_),
      queries_(other.queries_),
      pages_(other.pages_) {
  point_to_tensors();
}

void ProofBatch::point_to_tensors() {
  const auto point = [](const auto& owned, auto& spans) {
    if (owned.empty()) return;  // the tensors are another's
    spans.clear();
    for (const auto& each : owned) spans.push_back(std::as_bytes(std::span(each)));
  };
  point(queries_, problem_.queries);
  point(pages_, problem_.pages);
}

/// Page ids are in random order; table entries before and after those of the requests hold junk.
void ProofBatch::hand_out_pages(const ProofCase& one, std::uint32_t seed) {
  Random random(seed);
  std::vector<int> kv_lens = one.kv_lens;
  for (std::size_t b = 0; b < one.device_lens.size(); ++b) kv_lens[b] = std::max(kv_lens[b], one.device_lens[b]);
  const auto [owned, count] = reference::hand_out_pages(kv_lens, shape_.page_size, one.shared_pages);
  problem_.num_pages = count + kUnownedPages;
  std::vector<int> ids(static_cast<std::size_t>(problem_.num_pages));
  std::iota(ids.begin(), ids.end(), 0);
  for (std::size_t i = ids.size() - 1; i > 0; --i) std::swap(ids[i], ids[random.next() % (i + 1)]);

  problem_.kv_indices.assign(kJunk.begin(), kJunk.end());
  problem_.kv_indptr = planned_kv_indptr_ = {static_cast<std::int32_t>(kJunk.size())};
  const auto last = [&](std::size_t b, int pages, int kv_len) {
    return pages == 0 ? kJunk[b % kJunk.size()] : kv_len - (pages - 1) * shape_.page_size;
  };
  for (std::size_t b = 0; b < owned.size(); ++b) {
    for (const int page : owned[b]) problem_.kv_indices.push_back(ids[static_cast<std::size_t>(page)]);
    problem_.kv_indptr.push_back(static_cast<std::int32_t>(problem_.kv_indices.size()));
    const int planned = (one.kv_lens[b] + shape_.page_size - 1) / shape_.page_size;
    planned_kv_indptr_.push_back(planned_kv_indptr_.back() + planned);
    planned_last_page_len_.push_back(last(b, planned, one.kv_lens[b]));
    problem_.kv_last_page_len.push_back(
        last(b, static_cast<int>(owned[b].size()), one.device_lens.empty() ? one.kv_lens[b] : one.device_lens[b]));
  }
  problem_.kv_indices.insert(problem_.kv_indices.end(), kJunk.begin(), kJunk.end());
}

int ProofBatch::kv_len(int request) const {
  const auto b = static_cast<std::size_t>(request);
  const int pages = problem_.kv_indptr[b + 1] - problem_.kv_indptr[b];
  return pages == 0 ? 0 : (pages - 1) * shape_.page_size + problem_.kv_last_page_len[b];
}

void ProofBatch::find_readers() {
  readers_.assign(static_cast<std::size_t>(problem_.num_pages * shape_.page_size), 0);
  for (int request = 0; request < problem_.batch; ++request) {
    const std::int32_t first = problem_.kv_indptr[static_cast<std::size_t>(request)];
    for (int position = 0; position < kv_len(request); ++position) {
      const auto entry = static_cast<std::size_t>(first + position / shape_.page_size);
      const std::int64_t slot =
          std::int64_t{problem_.kv_indices[entry]} * shape_.page_size + position % shape_.page_size;
      readers_[static_cast<std::size_t>(slot)] |= 1U << request;
    }
  }
}

std::vector<ptx::Labels> ProofBatch::page_labels(std::size_t part) const {
  std::vector<ptx::Labels> labels(problem_.pages[part].size() / 2, labels_for(0, problem_.batch));
  for (std::size_t slot = 0; slot < readers_.size(); ++slot) {
    const auto page = static_cast<std::int64_t>(slot) / shape_.page_size;
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const std::int64_t row =
          row_of(problem_.strides[part], page, static_cast<std::int64_t>(slot) % shape_.page_size, head);
      std::fill_n(labels.begin() + row, shape_.pages[part].dim, labels_for(readers_[slot], problem_.batch));
    }
  }
  return labels;
}

std::vector<ptx::Labels> ProofBatch::index_labels() const {
  std::vector<ptx::Labels> labels(problem_.kv_indices.size(), labels_for(0, problem_.batch));
  for (int request = 0; request < problem_.batch; ++request) {
    const auto b = static_cast<std::size_t>(request);
    std::fill(labels.begin() + problem_.kv_indptr[b], labels.begin() + problem_.kv_indptr[b + 1],
              labels_for(1U << request, problem_.batch));
  }
  return labels;
}

std::vector<ptx::Labels> ProofBatch::last_page_len_labels() const {
  std::vector<ptx::Labels> labels;
  for (int request = 0; request < problem_.batch; ++request)
    labels.push_back(labels_for(1U << request, problem_.batch));
  return labels;
}

std::string ProofBatch::describe_page_element(std::size_t part, std::size_t element) const {
  const PageStrides& strides = problem_.strides[part];
  const auto at = static_cast<std::int64_t>(element);
  const std::int64_t page = at / strides.page;
  // Of the two layouts one has heads outside of tokens.
  for (std::int64_t slot = 0; slot < shape_.page_size; ++slot) {
    for (int head = 0; head < shape_.kv_heads; ++head) {
      const std::int64_t row = row_of(strides, page, slot, head);
      if (at >= row && at < row + shape_.pages[part].dim)
        return fmt::format("page {}, slot {}, head {}, element {}", page, slot, head, at - row);
    }
  }
  return fmt::format("page {}, element {} of its {}, in a gap between rows", page, at - page * strides.page,
                     strides.page);
}

void ProofBatch::change_requests(unsigned changed, std::uint32_t seed) {
  Random random(seed);
  for (std::size_t part = 0; part < queries_.size(); ++part) {
    const auto row = static_cast<std::size_t>(shape_.heads * shape_.queries[part].dim);
    for (std::size_t i = 0; i < queries_[part].size(); ++i)
      if ((changed >> (i / row) & 1U) != 0) queries_[part][i] = number(random, shape_.dtype);
  }
  for (std::size_t part = 0; part < pages_.size(); ++part) {
    for (std::size_t slot = 0; slot < readers_.size(); ++slot) {
      if (readers_[slot] == 0 || (readers_[slot] & ~changed) != 0) continue;
      const auto page = static_cast<std::int64_t>(slot) / shape_.page_size;
      for (int head = 0; head < shape_.kv_heads; ++head) {
        const std::int64_t first =
            row_of(problem_.strides[part], page, static_cast<std::int64_t>(slot) % shape_.page_size, head);
        std::generate_n(pages_[part].begin() + first, shape_.pages[part].dim,
                        [&] { return number(random, shape_.dtype); });
      }
    }
  }
}

}  // namespace librt::tool
