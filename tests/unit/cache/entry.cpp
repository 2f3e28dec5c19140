#include "src/cache/entry.hpp"

#include <librt/error.hpp>

#include <catch2/catch.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/cache/sample.hpp"

using namespace librt;
using Catch::Contains;

namespace {

using Bytes = std::vector<std::byte>;

void set(Bytes& file, std::size_t at, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) file[at + i] = static_cast<std::byte>((value >> (8 * i)) & 0xff);
}

std::uint64_t get(const Bytes& file, std::size_t at, std::size_t width) {
  std::uint64_t value = 0;
  for (std::size_t i = width; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(file[at + i]);
  return value;
}

constexpr std::size_t row(std::size_t section) {
  return 64 + 24 * section;
}

/// "" when the file is accepted.
std::string rejection(const Bytes& file, const util::Digest& key) {
  const auto result = cache::decode_entry(file, key);
  const auto* rejected = std::get_if<cache::Rejected>(&result);
  if (rejected != nullptr) CHECK_FALSE(rejected->reason.empty());
  return rejected == nullptr ? "" : rejected->reason;
}

}  // namespace

TEST_CASE("an entry comes back as it was encoded", "[cache][entry]") {
  test::Sample sample;
  const auto round_trip = [&] {
    const auto decoded = cache::decode_entry(cache::encode_entry(sample.key, sample.entry), sample.key);
    REQUIRE(std::holds_alternative<cache::Entry>(decoded));
    CHECK(test::same(std::get<cache::Entry>(decoded), sample.entry));
  };
  round_trip();
  sample.entry.cubin.clear();
  round_trip();
  sample.entry.ptx.clear();
  sample.entry.source.clear();
  round_trip();
  sample.entry.cubin.assign(300000, std::byte{1});
  sample.entry.meta = std::string("\0\xff", 2);
  round_trip();
}

TEST_CASE("the file is laid out as its README says", "[cache][entry]") {
  test::Sample sample;
  const Bytes file = cache::encode_entry(sample.key, sample.entry);
  CHECK(std::string(reinterpret_cast<const char*>(file.data()), 4) == "LRTK");
  CHECK(get(file, 4, 2) == 1);
  CHECK(get(file, 6, 2) == 0);
  CHECK(get(file, 8, 4) == 5);
  CHECK(get(file, 12, 4) == 0);
  CHECK(get(file, 16, 8) == file.size());
  CHECK(std::equal(sample.key.begin(), sample.key.end(), file.begin() + 24));
  CHECK(get(file, 56, 8) == 0);
  for (std::size_t i = 0; i < 5; ++i) {
    CAPTURE(i);
    CHECK(get(file, row(i), 4) == i + 1);
    CHECK(get(file, row(i) + 4, 4) == 0);
    CHECK(get(file, row(i) + 8, 8) % 64 == 0);
  }
  const std::uint64_t cubin_at = get(file, row(2) + 8, 8);
  CHECK(get(file, row(2) + 16, 8) == 100);
  CHECK(file[cubin_at] == std::byte{0x7f});
  const util::Digest checksum = util::hash(std::span<const std::byte>(file).first(file.size() - 32));
  CHECK(std::equal(checksum.begin(), checksum.end(), file.end() - 32));
}

TEST_CASE("an entry without a cubin has no cubin section", "[cache][entry]") {
  test::Sample sample;
  sample.entry.cubin.clear();
  const Bytes file = cache::encode_entry(sample.key, sample.entry);
  CHECK(get(file, 8, 4) == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(get(file, row(i), 4) != 3);
}

TEST_CASE("encode_entry refuses what could not be read back", "[cache][entry]") {
  test::Sample sample;
  sample.entry.cubin.assign(cache::kMaxEntryBytes - 64, std::byte{});
  CHECK_THROWS_WITH(cache::encode_entry(sample.key, sample.entry), Contains("67108864"));
  sample.entry.cubin.clear();
  sample.entry.meta.clear();
  CHECK_THROWS_WITH(cache::encode_entry(sample.key, sample.entry), Contains("metadata"));
}

TEST_CASE("a file cut at any byte is rejected", "[cache][entry]") {
  const test::Sample sample;
  const Bytes file = cache::encode_entry(sample.key, sample.entry);
  for (std::size_t size = 0; size < file.size(); ++size) {
    // A copy of just that size, so that a sanitizer sees any access behind it.
    if (rejection(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)), sample.key).empty()) {
      FAIL("accepted at " << size << " of " << file.size() << " bytes");
    }
  }
  Bytes longer = file;
  longer.push_back(std::byte{});
  CHECK_FALSE(rejection(longer, sample.key).empty());
}

TEST_CASE("a file with any bit flipped is rejected", "[cache][entry]") {
  const test::Sample sample;
  Bytes file = cache::encode_entry(sample.key, sample.entry);
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    const std::byte mask{static_cast<unsigned char>(1U << (bit % 8))};
    file[bit / 8] ^= mask;
    if (rejection(file, sample.key).empty()) FAIL("accepted with bit " << bit % 8 << " of byte " << bit / 8);
    file[bit / 8] ^= mask;
  }
  CHECK(rejection(file, sample.key).empty());
}

TEST_CASE("header and table are checked behind a right checksum too", "[cache][entry]") {
  const test::Sample sample;
  const Bytes good = cache::encode_entry(sample.key, sample.entry);
  const auto rejected = [&](const std::function<void(Bytes&)>& edit) {
    Bytes file = good;
    edit(file);
    test::sign(file);
    return rejection(file, sample.key);
  };
  REQUIRE(rejected([](Bytes&) {}).empty());
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};

  CHECK_THAT(rejected([](Bytes& file) { file[0] = std::byte{'X'}; }), Contains("LRTK"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 4, 2, 2); }), Contains("format 2"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 6, 1, 2); }), Contains("reserved"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 12, 1, 4); }), Contains("reserved"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 63, 1, 1); }), Contains("reserved"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 16, 1, 8); }), Contains("its header says 1"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 16, kHuge, 8); }), Contains("its header says"));
  CHECK_THAT(rejected([](Bytes& file) { file[24] ^= std::byte{1}; }), Contains("entry of key"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 8, 0xffffffff, 4); }), Contains("4294967295 sections"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 8, 17, 4); }), Contains("17 sections"));
  CHECK_FALSE(rejected([](Bytes& file) { set(file, 8, 16, 4); }).empty());
  CHECK_THAT(rejected([](Bytes& file) { set(file, 8, 4, 4); }), Contains("zeros"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, 8, 0, 4); }), Contains("after the last section"));

  for (std::size_t section = 0; section < 5; ++section) {
    CAPTURE(section);
    const std::size_t at = row(section);
    CHECK_THAT(rejected([&](Bytes& file) { set(file, at + 4, 1, 4); }), Contains("reserved"));
    CHECK_THAT(rejected([&](Bytes& file) { set(file, at + 16, 0, 8); }), Contains("empty"));
    for (const std::uint64_t wrong : {std::uint64_t{0}, std::uint64_t{63}, kHuge, kHuge - 63, kHuge / 2}) {
      CHECK_FALSE(rejected([&](Bytes& file) { set(file, at + 8, wrong, 8); }).empty());
    }
    for (const std::uint64_t wrong : {std::uint64_t{good.size()}, kHuge, kHuge - 63, kHuge / 2}) {
      CHECK_FALSE(rejected([&](Bytes& file) { set(file, at + 16, wrong, 8); }).empty());
    }
    CHECK_FALSE(rejected([&](Bytes& file) { set(file, at + 16, get(file, at + 16, 8) - 1, 8); }).empty());
    CHECK_FALSE(rejected([&](Bytes& file) { set(file, at + 16, get(file, at + 16, 8) + 64, 8); }).empty());
  }
  CHECK_THAT(rejected([](Bytes& file) { set(file, row(0), 0, 4); }), Contains("type 0"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, row(1), 1, 4); }), Contains("type 1 after type 1"));
  CHECK_THAT(rejected([](Bytes& file) { set(file, row(4), 1, 4); }), Contains("type 1 after type 4"));
}

TEST_CASE("a section of a later librt is passed over, a missing one is not", "[cache][entry]") {
  test::Sample sample;
  Bytes file = cache::encode_entry(sample.key, sample.entry);
  set(file, row(4), 77, 4);  // the source, as a type of the future
  test::sign(file);
  const auto decoded = cache::decode_entry(file, sample.key);
  REQUIRE(std::holds_alternative<cache::Entry>(decoded));
  sample.entry.source.clear();
  CHECK(test::same(std::get<cache::Entry>(decoded), sample.entry));

  sample.entry.cubin.clear();
  sample.entry.ptx.clear();
  file = cache::encode_entry(sample.key, sample.entry);
  set(file, row(1), 77, 4);
  test::sign(file);
  CHECK_THAT(rejection(file, sample.key), Contains("metadata"));
  set(file, row(0), 76, 4);
  test::sign(file);
  CHECK_THAT(rejection(file, sample.key), Contains("key document"));
}

TEST_CASE("bytes between sections have to be zeros", "[cache][entry]") {
  const test::Sample sample;
  Bytes file = cache::encode_entry(sample.key, sample.entry);
  const std::uint64_t cubin_at = get(file, row(2) + 8, 8);
  REQUIRE(file[cubin_at - 1] == std::byte{});
  file[cubin_at - 1] = std::byte{1};
  test::sign(file);
  CHECK_THAT(rejection(file, sample.key), Contains("zeros"));
}

TEST_CASE("an entry is that of one key only", "[cache][entry]") {
  test::Sample sample;
  const Bytes file = cache::encode_entry(sample.key, sample.entry);
  sample.key[31] ^= std::byte{1};
  CHECK_THAT(rejection(file, sample.key), Contains("entry of key"));
}
