// T30: random batches, poison and splits over six specs on three architecture classes.
//
// A seed fixes the whole case. The same ones are run every time, and some that are new with each commit;
// LIBRT_TEST_SEED=N runs that seed alone, LIBRT_TEST_FULL=1 runs 10,000.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

struct Target {
  Spec spec;
  std::string device;
};

std::vector<Target> targets() {
  return {{gqa(4), "virtual:sm_80"},
          {gqa(16, DType::f16, 128, 8, 1), "virtual:sm_80"},
          {gqa(3, DType::bf16, 256, 5, 1), "virtual:sm_120"},
          {gqa(1, DType::f16, 96, 6, 3), "virtual:sm_90"},
          {mla(4), "virtual:sm_80"},
          {mla(5, DType::f16, 40), "virtual:sm_120"}};
}

/// Raw draws, not the library's distributions, so that a seed means the same everywhere.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  int from(int low, int high) { return low + static_cast<int>(random_() % static_cast<std::uint64_t>(high - low + 1)); }
  bool one_in(int count) { return from(1, count) == 1; }

 private:
  std::mt19937_64 random_;
};

Recipe draw_recipe(Draw& draw, std::uint64_t seed, int page_size) {
  Recipe recipe{.layout = static_cast<Layout>(draw.from(0, 2)),
                .seed = seed,
                .permuted = !draw.one_in(4),
                .unowned_pages = draw.from(0, 4),
                .entries_before = draw.from(0, 3),
                .entries_after = draw.from(0, 3),
                .shared_pages = draw.one_in(3) ? draw.from(1, 4) : 0,
                .key_scale = draw.one_in(3) ? 8.0 : 1.0};
  const int size = draw.from(1, 4);
  for (int i = 0; i < size; ++i) {
    // Lengths near the ends of pages and tiles, and anything up to a few tiles.
    const int kinds[] = {0, draw.from(1, 3 * page_size), 32 * draw.from(1, 4) + draw.from(-1, 1), draw.from(1, 140)};
    recipe.kv_lens.push_back(kinds[draw.from(0, 3)]);
  }
  return recipe;
}

void check_seed(std::uint64_t seed) {
  const std::vector<Target> all = targets();
  const Target& target = all[seed % all.size()];
  Draw draw(seed);
  const Recipe recipe = draw_recipe(draw, seed, shape_of(target.spec).page_size);
  const Launch launch{.split_pages = draw.one_in(2) ? 0 : draw.from(1, 8)};
  const Poison poison = kPoisons[draw.from(0, static_cast<int>(std::size(kPoisons)) - 1)];
  INFO("seed " << seed << ": " << to_string(target.spec) << " on " << target.device << ", split_pages "
               << launch.split_pages << ", " << to_string(poison) << ", " << to_string(recipe));
  Runtime& runtime = shared_runtime(target.device);
  const Batch batch = make_batch(target.spec, recipe);
  const Result clean = decode(runtime, batch, launch);
  CHECK(difference(batch, clean, expected_of(batch)) == "");
  const Batch poisoned = fill_padding(batch, poison, {}, seed);
  CHECK(bit_difference(batch, clean, decode(runtime, poisoned, launch)) == "");
}

TEST_CASE("T30: random batches agree with the reference, and poison changes no bit", "[random]") {
  if (const char* one = std::getenv("LIBRT_TEST_SEED")) return check_seed(std::stoull(one));
  const char* full = std::getenv("LIBRT_TEST_FULL");
#ifdef LIBRT_TEST_SANITIZED
  const std::uint64_t usual = 60;  // the machine is about ten times slower there
#else
  const std::uint64_t usual = 300;
#endif
  const std::uint64_t count = full != nullptr && std::string(full) == "1" ? 10000 : usual;
  for (std::uint64_t seed = 1; seed <= count; ++seed) check_seed(seed);
}

TEST_CASE("T30: random batches that no commit before this one had", "[random]") {
  if (std::getenv("LIBRT_TEST_SEED") != nullptr) return;  // the other case runs it
  // Of the commit that the build folder was configured for: anybody can run them again.
  const std::uint64_t first = std::strtoull(LIBRT_TEST_COMMIT, nullptr, 16);
  std::cout << "seeds from " << first << " on, of commit " << LIBRT_TEST_COMMIT << '\n';
  for (std::uint64_t seed = first; seed < first + 60; ++seed) check_seed(seed);
}

}  // namespace
}  // namespace librt::test
