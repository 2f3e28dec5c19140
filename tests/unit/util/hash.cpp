#include "src/util/hash.hpp"

#include <catch2/catch.hpp>

#include <array>
#include <string>

using namespace librt;

TEST_CASE("hash is BLAKE2b-256", "[util][hash]") {
  // From an independent implementation (Python's hashlib.blake2b, digest_size=32).
  CHECK(util::to_hex(util::hash("")) == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  CHECK(util::to_hex(util::hash("abc")) == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

TEST_CASE("Hasher gives the same as hash, however the input is cut", "[util][hash]") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i * 7);
  const util::Digest whole = util::hash(text);
  for (const std::size_t cut : {0U, 1U, 127U, 128U, 129U, 999U, 1000U}) {
    util::Hasher hasher;
    hasher.update(std::string_view(text).substr(0, cut));
    hasher.update(std::string_view(text).substr(cut));
    CHECK(hasher.finish() == whole);
  }
}

TEST_CASE("hex goes both ways", "[util][hash]") {
  const std::array bytes{std::byte{0x00}, std::byte{0x9f}, std::byte{0xa0}, std::byte{0xff}};
  CHECK(util::to_hex(bytes) == "009fa0ff");
  std::array<std::byte, 4> back{};
  REQUIRE(util::from_hex("009fa0ff", back));
  CHECK(back == bytes);
  CHECK(util::to_hex({}).empty());
}

TEST_CASE("from_hex takes exactly the right number of lower-case digits", "[util][hash]") {
  std::array<std::byte, 2> out{};
  CHECK(util::from_hex("00ff", out));
  for (const char* wrong : {"", "00f", "00fff", "00ff0", "00FF", "00fg", "0x00", " 0ff", "00f\xc3"}) {
    CAPTURE(wrong);
    CHECK_FALSE(util::from_hex(wrong, out));
  }
}
