#include "src/util/json_bounds.hpp"

#include <catch2/catch.hpp>

#include <string>

using namespace librt;

TEST_CASE("JSON from a file has bounds in size and depth", "[util][json]") {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  CHECK(util::json_problem(nested(16)).empty());
  CHECK(util::json_problem(nested(17)) == "is nested deeper than the allowed 16 levels");
  CHECK(util::json_problem(nested(500'000)) == "is nested deeper than the allowed 16 levels");
  CHECK(util::json_problem(nested(3), 100, 2) == "is nested deeper than the allowed 2 levels");
  CHECK(util::json_problem(std::string(util::kMaxJsonBytes, ' ')).empty());
  CHECK(util::json_problem(std::string(util::kMaxJsonBytes + 1, ' ')) ==
        "has 1048577 bytes; at most 1048576 are allowed");
  // One after the other is not one in the other, and a text is a text.
  std::string flat;
  for (int i = 0; i < 1000; ++i) flat += "[],{},";
  CHECK(util::json_problem(flat).empty());
  CHECK(util::json_problem("\"" + std::string(100, '[') + "\"").empty());
  CHECK(util::json_problem("\"\\\"" + std::string(100, '[') + "\\\\\"").empty());
  CHECK_FALSE(util::json_problem("\"\\\\\"" + std::string(100, '[')).empty());
  CHECK_FALSE(util::json_problem("{\"a\":" + std::string(16, '{')).empty());
}
