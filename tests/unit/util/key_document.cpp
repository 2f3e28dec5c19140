#include "src/util/key_document.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <vector>

using namespace librt;

TEST_CASE("key_digest hashes lengths and bytes in order", "[util][key]") {
  // Over b"librt-key\0" and struct.pack("<I", len(name)), name, struct.pack("<Q", len(value)), value, in Python.
  CHECK(util::to_hex(util::key_digest({{"schema", "1"}, {"target", "\"sm_90a\""}})) ==
        "8fcb1e99fa98460267a726fd492fe3e70ee1a842ba9192a46728dc71f8cfc837");
}

TEST_CASE("no two lists of fields share a digest", "[util][key]") {
  const std::vector<std::vector<util::KeyField>> lists{
      {},
      {{"", ""}},
      {{"a", ""}},
      {{"", "a"}},
      {{"ab", "c"}},
      {{"a", "bc"}},
      {{"a", "b"}, {"c", ""}},
      {{"a", ""}, {"b", "c"}},
      {{"b", "c"}, {"a", ""}},
      {{"a", "b"}},
      {{"a", std::string("b\0", 2)}},
  };
  std::set<util::Digest> digests;
  for (const auto& fields : lists) digests.insert(util::key_digest(fields));
  CHECK(digests.size() == lists.size());
}

TEST_CASE("key_document is the same fields as JSON, in order, without white space", "[util][key]") {
  CHECK(util::key_document({}) == "{}");
  const std::string text =
      util::key_document({{"target", "\"sm_90a\""}, {"options", "[\"-a\",\"-b\"]"}, {"spec", "{\"x\":1}"}, {"a", "2"}});
  CHECK(text == R"({"target":"sm_90a","options":["-a","-b"],"spec":{"x":1},"a":2})");
  CHECK(nlohmann::ordered_json::parse(text).dump() == text);
}

TEST_CASE("a key document without its compiler is the same for every compiler", "[util][key]") {
  const std::string spec = R"("spec":{"text":"\\"compiler\\":{"})";
  const std::string program = "{\"schema\":1," + spec + "}";
  const std::string compiler = R"({"name":"nvrtc","version":"13.0"})";
  for (const std::string& document : {"{\"schema\":1,\"compiler\":" + compiler + "," + spec + "}",
                                      "{\"compiler\":" + compiler + ",\"schema\":1," + spec + "}",
                                      "{\"schema\":1," + spec + ",\"compiler\":" + compiler + "}"}) {
    CHECK(util::program_document(document) == program);
    CHECK(util::compiler_in(document) == compiler);
  }
  CHECK(util::program_document(program) == program);
  CHECK(util::compiler_in(program).empty());
  CHECK(util::program_document("{\"compiler\":" + compiler + "}") == "{}");
  for (const char* odd : {"", "\"compiler\":{", "{\"compiler\":[]}"}) CHECK(util::program_document(odd) == odd);
}
