// Padding of every kind holds poison of every kind, and no bit of the result changes.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"

namespace librt::test {
namespace {

TEST_CASE("The reference cannot read padding", "[padding]") {
  for (const Spec& spec : both(4)) {
    Batch batch = make_batch(spec, {.kv_lens = {6}});
    const ValidRows rows(batch.first, batch.pages(0), batch.kv_len(0), 0);
    CHECK(rows.at(5).size() == static_cast<std::size_t>(batch.shape.first_dim));
    CHECK_THROWS_AS(rows.at(6), std::out_of_range);
    CHECK_THROWS_AS(rows.at(-1), std::out_of_range);
    CHECK_THROWS_AS(batch.key(0, 6, 0, 0), std::out_of_range);
    CHECK_THROWS_AS(batch.value(0, 6, 0, 0), std::out_of_range);
  }
}

TEST_CASE("Poison reaches every padding position and no valid one", "[padding]") {
  for (const Spec& spec : both(4)) {
    for (const Layout layout : {Layout::nhd, Layout::hnd, Layout::padded}) {
      const Batch clean = make_batch(spec, {.kv_lens = {6, 0, 4}, .layout = layout});
      const Batch poisoned = fill_padding(clean, Poison::quiet_nan);
      const Bits nan = special_bits(clean.shape.dtype).quiet_nan;
      for (const auto& [before, after, dim] : {std::tuple{&clean.first, &poisoned.first, clean.shape.first_dim},
                                               std::tuple{&clean.second, &poisoned.second, clean.shape.second_dim}}) {
        std::size_t kept = 0;
        for (std::size_t i = 0; i < after->data.size(); ++i) {
          if (after->data[i] == nan) continue;
          REQUIRE(after->data[i] == before->data[i]);
          ++kept;
        }
        CHECK(kept == static_cast<std::size_t>(10 * clean.shape.kv_heads * dim));
      }
    }
  }
}

TEST_CASE("T03: page size 4, 13 tokens, poison in the three slots behind the last token", "[padding]") {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const Spec& spec : both(4, dtype)) {
      INFO(to_string(spec));
      CHECK(poison_difference(shared_runtime(), make_batch(spec, {.kv_lens = {13}, .unowned_pages = 0})) == "");
    }
  }
}

TEST_CASE("T04: every page size up to 16, every length of the last page", "[padding]") {
  for (int page_size = 1; page_size <= 16; ++page_size) {
    for (const Spec& spec : both(page_size)) {
      std::vector<int> kv_lens;
      for (int last = 1; last <= page_size; ++last) {
        const int full_pages = last % 3;
        kv_lens.push_back(full_pages * page_size + last);
      }
      INFO(to_string(spec));
      const Batch batch = make_batch(spec, {.kv_lens = kv_lens, .seed = static_cast<std::uint64_t>(page_size)});
      CHECK(poison_difference(shared_runtime(), batch) == "");
    }
  }
}

TEST_CASE("T04: larger pages, lengths around tiles and page ends", "[padding]") {
  for (const int page_size : {32, 64, 100, 128, 256}) {
    for (const Spec& spec : both(page_size)) {
      INFO(to_string(spec));
      const Batch batch =
          make_batch(spec, {.kv_lens = {1, 31, 32, 33, 63, 64, 65, page_size - 1, page_size, page_size + 1}});
      const Result clean = decode(shared_runtime(), batch);
      CHECK(difference(batch, clean, expected_of(batch)) == "");
      CHECK(bit_difference(batch, clean, decode(shared_runtime(), fill_padding(batch, Poison::quiet_nan))) == "");
    }
  }
}

TEST_CASE("T05: poison in K alone, V alone, ckv alone, kpe alone", "[padding]") {
  for (const Spec& spec : both(4)) {
    const Batch batch = make_batch(spec, {.kv_lens = {13, 66, 1}});
    for (const Operands operands : {Operands{true, false}, Operands{false, true}}) {
      INFO(to_string(spec) << ", first tensor " << operands.first << ", second " << operands.second);
      CHECK(poison_difference(shared_runtime(), batch, {}, operands) == "");
    }
  }
}

TEST_CASE("T06: infinities of both signs and huge numbers in the same padding", "[padding]") {
  for (const Spec& spec : both(4)) {
    const Batch batch = make_batch(spec, {.kv_lens = {13, 2}});
    const Result clean = decode(shared_runtime(), batch);
    const Bits infinity = special_bits(batch.shape.dtype).infinity;
    const Bits largest = special_bits(batch.shape.dtype).largest;
    Batch mixed = fill_padding(batch, Poison::quiet_nan);
    const Bits nan = special_bits(batch.shape.dtype).quiet_nan;
    const Bits values[] = {infinity, static_cast<Bits>(infinity | kSign), largest, static_cast<Bits>(largest | kSign)};
    for (PagedStore* store : {&mixed.first, &mixed.second}) {
      for (std::size_t i = 0; i < store->data.size(); ++i) {
        if (store->data[i] == nan) store->data[i] = values[i % 4];
      }
    }
    INFO(to_string(spec));
    CHECK(bit_difference(batch, clean, decode(shared_runtime(), mixed)) == "");
  }
}

TEST_CASE("T07: a page that is exactly full, poison in the page behind it", "[padding]") {
  for (const int page_size : {4, 16, 64}) {
    for (const Spec& spec : both(page_size)) {
      INFO(to_string(spec));
      // In order, so that the page behind the last one in memory is one that no request owns.
      const Recipe recipe{.kv_lens = {2 * page_size, page_size}, .permuted = false, .unowned_pages = 3};
      CHECK(poison_difference(shared_runtime(), make_batch(spec, recipe)) == "");
    }
  }
}

TEST_CASE("T08: one token in one page, the rest of the pool is poison", "[padding]") {
  for (const int page_size : {1, 16}) {
    for (const Spec& spec : both(page_size)) {
      INFO(to_string(spec));
      CHECK(poison_difference(shared_runtime(), make_batch(spec, {.kv_lens = {1}, .unowned_pages = 7})) == "");
    }
  }
}

TEST_CASE("Poison in the gaps that strides leave", "[padding]") {
  for (const Spec& spec : both(4)) {
    for (const Layout layout : {Layout::hnd, Layout::padded}) {
      INFO(to_string(spec) << ", layout " << static_cast<int>(layout));
      CHECK(poison_difference(shared_runtime(), make_batch(spec, {.kv_lens = {13, 70}, .layout = layout})) == "");
    }
  }
}

TEST_CASE("Every head dimension, type, row class and architecture class", "[padding]") {
  std::vector<Spec> specs;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const int head_dim : {64, 80, 96, 128, 192, 256}) specs.push_back(gqa(16, dtype, head_dim, 6, 2));
    for (const int num_heads : {16, 20, 70}) specs.push_back(mla(16, dtype, num_heads));
  }
  for (const std::string device : {"virtual:sm_80", "virtual:sm_90", "virtual:sm_120"}) {
    for (const Spec& spec : specs) {
      // f16 and bf16 differ in two instructions, tiles by architecture: one of the two covers the other devices.
      if (device != "virtual:sm_80" && shape_of(spec).dtype == DType::f16) continue;
      INFO(to_string(spec) << " on " << device);
      const Batch batch = make_batch(spec, {.kv_lens = {75, 0, 129, 32}});
      const Result clean = decode(shared_runtime(device), batch);
      CHECK(difference(batch, clean, expected_of(batch)) == "");
      CHECK(bit_difference(batch, clean, decode(shared_runtime(device), fill_padding(batch, Poison::quiet_nan))) == "");
    }
  }
}

TEST_CASE("Every group size from 1 to 16", "[padding]") {
  for (int group = 1; group <= 16; ++group) {
    const Batch batch = make_batch(gqa(4, DType::bf16, 64, 2 * group, 2), {.kv_lens = {13, 5}});
    const Result clean = decode(shared_runtime(), batch);
    INFO("group " << group);
    CHECK(difference(batch, clean, expected_of(batch)) == "");
    CHECK(bit_difference(batch, clean, decode(shared_runtime(), fill_padding(batch, Poison::quiet_nan))) == "");
  }
}

}  // namespace
}  // namespace librt::test
