#include "src/util/text.hpp"

#include <catch2/catch.hpp>

#include <array>

using librt::util::did_you_mean;
using librt::util::in_quotes;
using librt::util::nearest;
using librt::util::printable;
using librt::util::shown;

TEST_CASE("text: what a terminal would obey is escaped, what it draws stays", "[text]") {
  CHECK(printable("a\x1b[31mb\x07\r") == "a\\x1b[31mb\\x07\\x0d");
  CHECK(printable(std::string_view("\0\x7f", 2)) == "\\x00\\x7f");
  CHECK(printable("line\n\tnext") == "line\n\tnext");
  CHECK(shown("line\n\tnext") == "line\\x0a\\x09next");
  CHECK(printable("Grüße, 世界 🙂") == "Grüße, 世界 🙂");
  CHECK(printable("\xc2\x9b"
                  "31m") == "\\xc2\\x9b31m");  // a control sequence introducer of eight bits
  CHECK(printable("\u202Eabc\u2028\uFEFF") == "\\xe2\\x80\\xaeabc\\xe2\\x80\\xa8\\xef\\xbb\\xbf");
  for (const std::string_view no_utf8 : {"\xff", "\xc3", "\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80",
                                         "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"}) {
    CHECK(printable(no_utf8).starts_with("\\x"));
  }
}

TEST_CASE("text: what is long is cut between characters", "[text]") {
  CHECK(shown(std::string(200'000, 'A'), 10) == std::string(10, 'A') + "...");
  CHECK(shown(std::string(200'000, '\x1b')).size() <= 83);
  CHECK(shown("ab🙂", 4) == "ab...");
  CHECK(shown("ab🙂", 6) == "ab🙂");
  CHECK(in_quotes("a\n") == "\"a\\x0a\"");
}

TEST_CASE("text: the nearest name", "[text]") {
  constexpr std::array<std::string_view, 4> kNames = {"num_heads", "head_dim", "page_size", "dtype"};
  CHECK(nearest("num_head", kNames) == "num_heads");
  CHECK(nearest("pagesize", kNames) == "page_size");
  CHECK(nearest("dtyep", kNames) == "dtype");
  CHECK(nearest("date", kNames).empty());
  CHECK(nearest("d", kNames).empty());
  CHECK(nearest("", kNames).empty());
  CHECK(nearest(std::string(1'000'000, 'x'), kNames).empty());
  CHECK(did_you_mean("head_dims", kNames) == "; did you mean head_dim?");
  CHECK(did_you_mean("alibi", kNames).empty());
}
