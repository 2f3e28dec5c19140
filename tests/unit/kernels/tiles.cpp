// The tile policy: everything fits its architecture, and rows lie so that ldmatrix meets no bank conflict.
#include "kernels/gqa_decode/gqa_decode.h"
#include "kernels/mla_decode/mla_decode.h"

#include <catch2/catch.hpp>

#include <array>
#include <set>

namespace {

using namespace librt::tiles;

constexpr std::array kArchitectures = {80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};
constexpr std::array kHeadDims = {64, 80, 96, 128, 192, 256};
constexpr std::array kRowClasses = {16, 32, 64};

/// ldmatrix reads eight rows of 16 bytes at a time, and shared memory serves 128 bytes, eight such pieces, at a time.
bool eight_rows_miss_each_other(int pitch_bytes) {
  std::set<int> pieces;
  for (int row = 0; row < 8; ++row) pieces.insert(row * pitch_bytes / 16 % 8);
  return pitch_bytes % 16 == 0 && pieces.size() == 8;
}

static_assert(shared_limit_bytes(90) == 232448, "usable in constant expressions");

}  // namespace

TEST_CASE("the limits of shared memory by architecture", "[kernels][tiles]") {
  for (const int sm : {86, 89, 120, 121}) CHECK(shared_limit_bytes(sm) == 101376);
  for (const int sm : {80, 87}) CHECK(shared_limit_bytes(sm) == 166912);
  for (const int sm : {90, 100, 103, 110}) CHECK(shared_limit_bytes(sm) == 232448);
  CHECK(shared_limit_bytes(999) == 101376);
}

TEST_CASE("every GQA tile fits its architecture", "[kernels][tiles]") {
  for (const int sm : kArchitectures) {
    for (const int head_dim : kHeadDims) {
      const Tile tile = gqa_tile(sm, head_dim);
      CAPTURE(sm, head_dim, tile.tile_tokens, tile.stages);
      CHECK(gqa_shared_bytes(head_dim, tile) <= shared_limit_bytes(sm));
      CHECK((tile.tile_tokens == 32 || tile.tile_tokens == 64));
      CHECK(tile.stages >= 2);
      CHECK(head_dim % (16 * (64 / tile.tile_tokens)) == 0);
    }
  }
}

TEST_CASE("every MLA tile fits its architecture", "[kernels][tiles]") {
  for (const int sm : kArchitectures) {
    for (const int rows : kRowClasses) {
      const Tile tile = mla_tile(sm, rows);
      CAPTURE(sm, rows, tile.tile_tokens, tile.stages);
      CHECK(mla_shared_bytes(512, 64, rows, tile) <= shared_limit_bytes(sm));
      CHECK(tile.tile_tokens % 16 == 0);
      CHECK(tile.stages >= 1);
    }
  }
}

TEST_CASE("the sizes of shared memory are those of the layouts", "[kernels][tiles]") {
  // 16 query rows and 2 * 2 * 64 rows of K and V, 272 bytes each; 128 row sources of 16 bytes.
  CHECK(gqa_shared_bytes(128, {64, 2}) == 272 * 272 + 128 * 16);
  // 16 query rows and 64 token rows of 1168 bytes, 64 row sources, two parts of 16 score rows, 16 row factors.
  CHECK(mla_shared_bytes(512, 64, 16, {32, 2}) == 80 * 1168 + 64 * 16 + 2 * 16 * 144 + 16 * 4);
}

TEST_CASE("two blocks share a multiprocessor where the memory allows it", "[kernels][tiles]") {
  const auto blocks = [](int sm, int head_dim) {
    return blocks_per_multiprocessor(sm, gqa_shared_bytes(head_dim, gqa_tile(sm, head_dim)));
  };
  for (const int head_dim : kHeadDims) CHECK(blocks(90, head_dim) >= 2);
  for (const int head_dim : {64, 80, 96, 128, 256}) CHECK(blocks(80, head_dim) >= 2);
  for (const int sm : kArchitectures) {
    for (const int head_dim : kHeadDims) CHECK(blocks(sm, head_dim) >= 1);
  }
}

TEST_CASE("rows are padded so that ldmatrix meets no bank conflict", "[kernels][tiles]") {
  for (const int head_dim : kHeadDims) CHECK(eight_rows_miss_each_other(row_pitch_bytes(head_dim)));
  CHECK(eight_rows_miss_each_other(row_pitch_bytes(512 + 64)));
  for (const int tile_tokens : {16, 32, 64}) CHECK(eight_rows_miss_each_other(mla_score_pitch_bytes(tile_tokens)));
  CHECK_FALSE(eight_rows_miss_each_other(2 * 128));
}

TEST_CASE("the block of query rows is the smallest that holds the heads, up to 64", "[kernels][tiles]") {
  for (int num_heads = 1; num_heads <= 128; ++num_heads) {
    const int rows = mla_rows(num_heads);
    CAPTURE(num_heads, rows);
    CHECK((rows == 16 || rows == 32 || rows == 64));
    CHECK((rows >= num_heads || rows == 64));
    CHECK((rows == 16 || rows / 2 < num_heads));
  }
}

TEST_CASE("all eight warps of an MLA block have a share of the scores", "[kernels][tiles]") {
  for (const int sm : kArchitectures) {
    for (const int rows : kRowClasses) {
      const Tile tile = mla_tile(sm, rows);
      const int parts = mla_score_parts(rows, tile.tile_tokens);
      const int token_warps = 8 / (rows / 16) / parts;
      CAPTURE(sm, rows, tile.tile_tokens, parts);
      REQUIRE(token_warps >= 1);
      CHECK(rows / 16 * parts * token_warps == 8);
      CHECK(tile.tile_tokens % (8 * token_warps) == 0);
      CHECK(36 % parts == 0);
    }
  }
}
