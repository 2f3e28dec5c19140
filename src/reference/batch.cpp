#include "src/reference/batch.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>

namespace librt::reference {
namespace {

using Random = std::mt19937_64;

int below(Random& random, int limit) {
  return static_cast<int>(random() % static_cast<std::uint64_t>(limit));
}

/// Uniform in [-1, 1], so that nothing depends on a library's distributions.
double uniform(Random& random) {
  return static_cast<double>(random() >> 11) * 0x1p-52 - 1.0;
}

/// What stands in table entries and lengths that nobody may read.
std::int32_t junk(Random& random, int num_pages) {
  const std::int32_t values[] = {
      -1, 0, num_pages, 2147480000, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()};
  return values[below(random, static_cast<int>(std::size(values)))];
}

PagedStore make_store(int num_pages, int page_size, int heads, int dim, Layout layout, int gap) {
  PagedStore store{.num_pages = num_pages, .page_size = page_size, .heads = heads, .dim = dim};
  switch (layout) {
    case Layout::nhd:
      store.head_stride = dim;
      store.token_stride = heads * store.head_stride;
      store.page_stride = page_size * store.token_stride;
      break;
    case Layout::hnd:
      store.token_stride = dim;
      store.head_stride = page_size * store.token_stride;
      store.page_stride = heads * store.head_stride;
      break;
    case Layout::padded:
      store.head_stride = dim + gap;
      store.token_stride = heads * store.head_stride + 2 * gap;
      store.page_stride = page_size * store.token_stride + 3 * gap;
      break;
  }
  store.data.assign(static_cast<std::size_t>(num_pages * store.page_stride), 0);
  return store;
}

void write_table(Batch& batch, const Recipe& recipe, const PageOwnership& owned, const std::vector<int>& page_ids,
                 Random& random) {
  const int num_pages = static_cast<int>(page_ids.size());
  for (int i = 0; i < recipe.entries_before; ++i) batch.kv_indices.push_back(junk(random, num_pages));
  batch.kv_indptr.push_back(recipe.entries_before);
  for (std::size_t b = 0; b < owned.pages.size(); ++b) {
    for (const int page : owned.pages[b]) batch.kv_indices.push_back(page_ids[static_cast<std::size_t>(page)]);
    batch.kv_indptr.push_back(static_cast<std::int32_t>(batch.kv_indices.size()));
    const int num = static_cast<int>(owned.pages[b].size());
    batch.kv_last_page_len.push_back(num == 0 ? junk(random, num_pages)
                                              : recipe.kv_lens[b] - (num - 1) * batch.shape.page_size);
  }
  for (int i = 0; i < recipe.entries_after; ++i) batch.kv_indices.push_back(junk(random, num_pages));
}

void fill_valid(Batch& batch, double key_scale, Random& random) {
  const Shape& shape = batch.shape;
  const auto draw = [&](double scale) { return batch.bits(scale * uniform(random)); };
  for (int b = 0; b < batch.size(); ++b) {
    for (int position = 0; position < batch.kv_len(b); ++position) {
      for (int head = 0; head < shape.kv_heads; ++head) {
        const int key_dim = shape.first_dim + shape.q_pe_dim();
        for (int d = 0; d < key_dim; ++d) batch.key(b, position, head, d) = draw(key_scale);
        if (shape.is_mla) continue;
        for (int d = 0; d < shape.second_dim; ++d) batch.value(b, position, head, d) = draw(1);
      }
    }
  }
}

std::vector<Bits> random_rows(const Batch& batch, int batch_size, int dim, Random& random) {
  std::vector<Bits> rows(static_cast<std::size_t>(batch_size) * static_cast<std::size_t>(batch.shape.qo_heads * dim));
  // Logits then have a standard deviation near 1 at key_scale 1.
  std::ranges::generate(rows, [&] { return batch.bits(3 * uniform(random)); });
  return rows;
}

/// @param extra numbers of the row that follow in the other tensor: kpe after ckv
Bits& valid_number(Batch& batch, PagedStore& store, int request, int position, int head, int d) {
  if (position < 0 || position >= batch.kv_len(request)) {
    throw std::out_of_range(
        fmt::format("position {} of request {} is padding (kv_len {})", position, request, batch.kv_len(request)));
  }
  if (head < 0 || head >= store.heads || d < 0 || d >= store.dim) {
    throw std::out_of_range(
        fmt::format("head {}, number {} of a row of {} heads, {} numbers", head, d, store.heads, store.dim));
  }
  const int page = batch.pages(request)[static_cast<std::size_t>(position / store.page_size)];
  return store.data[store.row(page, position % store.page_size, head) + static_cast<std::size_t>(d)];
}

Bits poison_bits(Poison poison, DType dtype, Random& random) {
  const SpecialBits special = special_bits(dtype);
  switch (poison) {
    case Poison::zero:
      return 0;
    case Poison::quiet_nan:
      return special.quiet_nan;
    case Poison::signalling_nan:
      return special.signalling_nan;
    case Poison::nan_all_ones:
      return 0xffff;
    case Poison::plus_infinity:
      return special.infinity;
    case Poison::minus_infinity:
      return special.infinity | kSign;
    case Poison::largest:
      return special.largest;
    case Poison::minus_largest:
      return special.largest | kSign;
    case Poison::denormal:
      return special.smallest_denormal;
    case Poison::random_bits:
      return static_cast<Bits>(random());
  }
  throw std::invalid_argument("unknown poison");
}

/// Poison everywhere, then the valid rows back in their places.
void poison_store(PagedStore& store, const std::vector<bool>& valid_slots, Poison poison, DType dtype, Random& random) {
  std::vector<Bits> poisoned(store.data.size());
  std::ranges::generate(poisoned, [&] { return poison_bits(poison, dtype, random); });
  for (int page = 0; page < store.num_pages; ++page) {
    for (int slot = 0; slot < store.page_size; ++slot) {
      if (!valid_slots[static_cast<std::size_t>(page * store.page_size + slot)]) continue;
      for (int head = 0; head < store.heads; ++head) {
        const auto begin = static_cast<std::ptrdiff_t>(store.row(page, slot, head));
        std::copy_n(store.data.begin() + begin, store.dim, poisoned.begin() + begin);
      }
    }
  }
  store.data = std::move(poisoned);
}

/// [num_pages * page_size]: whether some request may see the slot.
std::vector<bool> valid_slots(const Batch& batch) {
  const int page_size = batch.shape.page_size;
  std::vector<bool> valid(static_cast<std::size_t>(batch.first.num_pages * page_size), false);
  for (int b = 0; b < batch.size(); ++b) {
    for (int position = 0; position < batch.kv_len(b); ++position) {
      const int page = batch.pages(b)[static_cast<std::size_t>(position / page_size)];
      valid[static_cast<std::size_t>(page * page_size + position % page_size)] = true;
    }
  }
  return valid;
}

}  // namespace

PageOwnership hand_out_pages(std::span<const int> kv_lens, int page_size, int shared_pages) {
  PageOwnership owned;
  std::vector<int> shared;
  for (const int kv_len : kv_lens) {
    std::vector<int>& pages = owned.pages.emplace_back();
    for (int i = 0; i * page_size < kv_len; ++i) {
      if (i < shared_pages) {
        if (i == static_cast<int>(shared.size())) shared.push_back(owned.count++);
        pages.push_back(shared[static_cast<std::size_t>(i)]);
      } else {
        pages.push_back(owned.count++);
      }
    }
  }
  return owned;
}

Shape shape_of(const Spec& spec) {
  if (const auto mla = spec.as<MlaDecodeSpec>()) {
    return {.is_mla = true,
            .dtype = mla->dtype,
            .qo_heads = mla->num_heads,
            .kv_heads = 1,
            .page_size = mla->page_size,
            .first_dim = mla->head_dim_ckv,
            .second_dim = mla->head_dim_kpe};
  }
  const auto gqa = spec.as<GqaDecodeSpec>().value();
  return {.is_mla = false,
          .dtype = gqa.dtype,
          .qo_heads = gqa.num_qo_heads,
          .kv_heads = gqa.num_kv_heads,
          .page_size = gqa.page_size,
          .first_dim = gqa.head_dim,
          .second_dim = gqa.head_dim};
}

std::string to_string(const Recipe& recipe) {
  return fmt::format(
      "kv_lens=[{}] layout={} seed={} permuted={} unowned_pages={} entries_before={} entries_after={} shared_pages={} "
      "key_scale={}",
      fmt::join(recipe.kv_lens, ","), static_cast<int>(recipe.layout), recipe.seed, recipe.permuted,
      recipe.unowned_pages, recipe.entries_before, recipe.entries_after, recipe.shared_pages, recipe.key_scale);
}

std::span<const std::int32_t> Batch::pages(int request) const {
  const auto begin = static_cast<std::size_t>(kv_indptr.at(static_cast<std::size_t>(request)));
  const auto end = static_cast<std::size_t>(kv_indptr.at(static_cast<std::size_t>(request) + 1));
  return std::span(kv_indices).subspan(begin, end - begin);
}

int Batch::kv_len(int request) const {
  const int num_pages = static_cast<int>(pages(request).size());
  if (num_pages == 0) return 0;
  return (num_pages - 1) * shape.page_size + kv_last_page_len[static_cast<std::size_t>(request)];
}

Bits& Batch::key(int request, int position, int kv_head, int d) {
  if (shape.is_mla && d >= first.dim) return valid_number(*this, second, request, position, kv_head, d - first.dim);
  return valid_number(*this, first, request, position, kv_head, d);
}

Bits& Batch::value(int request, int position, int kv_head, int d) {
  return valid_number(*this, shape.is_mla ? first : second, request, position, kv_head, d);
}

Bits& Batch::query(int request, int qo_head, int d) {
  const bool in_pe = shape.is_mla && d >= shape.first_dim;
  const int dim = in_pe ? shape.second_dim : shape.first_dim;
  const int at = (request * shape.qo_heads + qo_head) * dim + (in_pe ? d - shape.first_dim : d);
  return (in_pe ? q_pe : q).at(static_cast<std::size_t>(at));
}

Batch make_batch(const Spec& spec, const Recipe& recipe) {
  Random random(recipe.seed);
  Batch batch;
  batch.spec = spec;
  batch.shape = shape_of(spec);
  const Shape& shape = batch.shape;
  batch.sm_scale = 1.0F / std::sqrt(static_cast<float>(shape.first_dim + shape.q_pe_dim()));

  const PageOwnership owned = hand_out_pages(recipe.kv_lens, shape.page_size, recipe.shared_pages);
  std::vector<int> page_ids(static_cast<std::size_t>(std::max(1, owned.count + recipe.unowned_pages)));
  std::iota(page_ids.begin(), page_ids.end(), 0);
  if (recipe.permuted) {
    for (std::size_t i = page_ids.size() - 1; i > 0; --i) std::swap(page_ids[i], page_ids[random() % (i + 1)]);
  }
  const int num_pages = static_cast<int>(page_ids.size());
  batch.first = make_store(num_pages, shape.page_size, shape.kv_heads, shape.first_dim, recipe.layout, 8);
  batch.second = make_store(num_pages, shape.page_size, shape.kv_heads, shape.second_dim, recipe.layout, 24);
  write_table(batch, recipe, owned, page_ids, random);
  fill_valid(batch, recipe.key_scale, random);
  const int size = static_cast<int>(recipe.kv_lens.size());
  batch.q = random_rows(batch, size, shape.first_dim, random);
  batch.q_pe = random_rows(batch, size, shape.q_pe_dim(), random);
  return batch;
}

std::string to_string(Poison poison) {
  switch (poison) {
    case Poison::zero:
      return "zero";
    case Poison::quiet_nan:
      return "quiet NaN";
    case Poison::signalling_nan:
      return "signalling NaN";
    case Poison::nan_all_ones:
      return "NaN with all bits set";
    case Poison::plus_infinity:
      return "+Inf";
    case Poison::minus_infinity:
      return "-Inf";
    case Poison::largest:
      return "largest finite";
    case Poison::minus_largest:
      return "-largest finite";
    case Poison::denormal:
      return "smallest denormal";
    case Poison::random_bits:
      return "random bits";
  }
  return "unknown";
}

Batch fill_padding(Batch batch, Poison poison, Operands operands, std::uint64_t seed) {
  Random random(seed);
  const std::vector<bool> valid = valid_slots(batch);
  if (operands.first) poison_store(batch.first, valid, poison, batch.shape.dtype, random);
  if (operands.second) poison_store(batch.second, valid, poison, batch.shape.dtype, random);
  return batch;
}

Batch pick(const Batch& batch, const std::vector<int>& requests) {
  Batch picked = batch;
  picked.q.clear();
  picked.q_pe.clear();
  picked.kv_indptr = {0};
  picked.kv_indices.clear();
  picked.kv_last_page_len.clear();
  for (const int request : requests) {
    const auto copy_rows = [&](const std::vector<Bits>& from, std::vector<Bits>& to, int dim) {
      const auto count = static_cast<std::ptrdiff_t>(batch.shape.qo_heads) * dim;
      to.insert(to.end(), from.begin() + request * count, from.begin() + (request + 1) * count);
    };
    copy_rows(batch.q, picked.q, batch.shape.first_dim);
    copy_rows(batch.q_pe, picked.q_pe, batch.shape.q_pe_dim());
    const auto pages = batch.pages(request);
    picked.kv_indices.insert(picked.kv_indices.end(), pages.begin(), pages.end());
    picked.kv_indptr.push_back(static_cast<std::int32_t>(picked.kv_indices.size()));
    picked.kv_last_page_len.push_back(batch.kv_last_page_len[static_cast<std::size_t>(request)]);
  }
  return picked;
}

}  // namespace librt::reference
