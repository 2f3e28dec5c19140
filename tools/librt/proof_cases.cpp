#include "tools/librt/proof_cases.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "src/api/specialize.hpp"
#include "tools/librt/decode.hpp"

namespace librt::tool {
namespace {

constexpr int kOneSplit = 1 << 20;
// From here on a page's end is out of reach of a quick run; what is proven then is said with the verdict.
constexpr int kLongPage = 512;

using Lengths = std::vector<int>;

/// One case for every kMostRequests lengths; all but the lengths as in `like`.
void add_batches(std::vector<ProofCase>& cases, const ProofCase& like, const Lengths& lengths) {
  for (std::size_t first = 0; first < lengths.size(); first += kMostRequests) {
    const auto begin = lengths.begin() + static_cast<std::ptrdiff_t>(first);
    const auto count = std::min(lengths.size() - first, static_cast<std::size_t>(kMostRequests));
    ProofCase one = like;
    one.kv_lens.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    cases.push_back(std::move(one));
  }
}

/// 0, 1, and one less, the same and one more than each boundary.
Lengths around(const Lengths& boundaries) {
  std::set<int> lengths{0, 1};
  for (const int boundary : boundaries)
    for (const int near : {boundary - 1, boundary, boundary + 1}) lengths.insert(std::max(near, 0));
  return {lengths.begin(), lengths.end()};
}

/// Every length modulo tile, and modulo page where pages are not long, over one tile up to one more than there are
/// stages.
Lengths all_residues(int page_size, tiles::Tile tile) {
  Lengths lengths;
  const int residues = page_size < kLongPage ? std::max(page_size, tile.tile_tokens) : tile.tile_tokens;
  for (int residue = 0; residue < residues; ++residue) {
    const int tiles_before = residue % (tile.stages + 2);
    lengths.push_back(tiles_before * residues + residue);
  }
  return lengths;
}

}  // namespace

tiles::Tile tile_of(const Spec& spec, const Arch& arch) {
  const KernelVariant variant = api::variant_of(spec, arch);
  return {std::max(variant.tile_tokens, 1), std::max(variant.stages, 1)};
}

std::vector<ProofCase> proof_cases(const Spec& spec, const Arch& arch) {
  const DecodeShape shape = shape_of(spec);
  const tiles::Tile tile = tile_of(spec, arch);
  const int page = shape.page_size, tokens = tile.tile_tokens;
  const bool long_page = page >= kLongPage;
  const auto layout_or_gaps = [&](ProofLayout layout) { return shape.kv_heads > 1 ? layout : ProofLayout::gaps; };
  std::vector<ProofCase> cases;

  Lengths boundaries{tokens, tile.stages * tokens, (tile.stages + 1) * tokens};
  if (!long_page) boundaries.insert(boundaries.end(), {page, 2 * page});
  add_batches(cases, {.name = "boundaries of pages, tiles and stages", .split_pages = kOneSplit}, around(boundaries));

  if (!long_page) {
    // As many pages as hold a tile or a little more; where a page holds more than one tile, a page.
    const int tile_of_pages = std::max(1, (tokens + page - 1) / page);
    for (const int split_pages : {1, tile_of_pages, tile_of_pages + 1}) {
      const int split = split_pages * page;
      const Lengths lengths = split_pages == 1 && page < 4 ? around({split, 5 * split}) : around({split, 3 * split});
      add_batches(cases,
                  {.name = fmt::format("splits of {} pages", split_pages),
                   .layout = layout_or_gaps(ProofLayout::hnd),
                   .split_pages = split_pages,
                   .most_kv_heads = 2},
                  lengths);
    }
  }
  cases.push_back({.name = "splits as planned", .kv_lens = {12 * tokens + 3, 1, 0, tokens + 1}, .most_kv_heads = 2});

  add_batches(cases,
              {.name = "every length modulo tile and page",
               .layout = ProofLayout::gaps,
               .split_pages = kOneSplit,
               .most_kv_heads = 2},
              all_residues(page, tile));

  // The last page that they share is full for the longer requests and a tail for the shorter ones.
  const int most = std::min(page, 2 * tokens), some = std::max(most / 2, 1);
  const int before = long_page ? 0 : 2 * page;  // tokens in full pages
  cases.push_back({.name = "shared pages",
                   .kv_lens = {before + most, before + some, some, before + most},
                   .split_pages = kOneSplit,
                   .shared_pages = 3,
                   .most_kv_heads = 2});

  if (page > 1) {
    cases.push_back({.name = "lengths that are shorter on the device than in the plan",
                     .kv_lens = {before / 2 + most, most, before + most, most},
                     .device_lens = {before / 2 + 1, some, before + most - 1, 1},
                     .split_pages = long_page ? kOneSplit : 2,
                     .most_kv_heads = 2});
  }
  cases.push_back({.name = "lengths that are longer on the device than in the plan",
                   .kv_lens = {1, most, 0, before + some},
                   .device_lens = {before + most, most + 1, some, before + most + (long_page ? 1 : page + 1)},
                   .split_pages = long_page ? kOneSplit : 2,
                   .most_kv_heads = 2});
  return cases;
}

}  // namespace librt::tool
