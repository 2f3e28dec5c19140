// Tiers, modes, explanations and statistics.
#include <librt/error.hpp>

#include <fcntl.h>

#include <thread>

#include "src/util/json_bounds.hpp"
#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using namespace librt::test;
using cache::Counter;
using Catch::Contains;

namespace {

std::vector<std::string> names_below(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& item : fs::recursive_directory_iterator(path, error)) {
    struct stat status {};
    ::lstat(item.path().c_str(), &status);
    names.push_back(item.path().string() + std::to_string(status.st_mtim.tv_sec));
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// A directory that another cache filled with one entry, unused for a year.
struct ModesFixture : FaultFixture {
  std::string layer = directory / "layer";
  FakeRequest known{1};
  FakeRequest unknown{2};
  FakeCompiler compiler;

  ModesFixture() {
    cache::TiersOptions filling = options();
    filling.root = layer;
    open(filling)->get(known.request(), compiler.of(known));
    compiler.calls = 0;
    const std::string path = cache::Store(layer, log(), {}).path_of(known.key);
    const timespec times[2] = {{1000000, 0}, {1000000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  }
};

}  // namespace

TEST_CASE_METHOD(ModesFixture, "read-only directories serve what the own one does not have, and stay as they are",
                 "[cache][modes]") {
  const auto before = names_below(layer);
  cache::TiersOptions layered = options();
  layered.read_only = {directory / "nothing here", layer};
  const auto cache = open(layered);
  CHECK(cache->get(known.request(), compiler.of(known)).origin == Origin::disk);
  CHECK(cache->get(unknown.request(), compiler.of(unknown)).origin == Origin::compiled);
  CHECK(names_below(layer) == before);
  CHECK(fs::exists(path_of(unknown)));
  CHECK_FALSE(fs::exists(path_of(known)));
  const cache::Counts counts = cache->statistics().counts();
  CHECK(counts[Counter::disk_hits] == 1);
  CHECK(counts[Counter::read_only_hits] == 1);
  CHECK(counts.lookups() == 2);

  // A damaged entry there is no hit, and is left alone.
  put(cache::Store(layer, log(), {}).path_of(known.key), std::vector<std::byte>(500));
  const auto damaged = names_below(layer);
  CHECK(open(layered)->get(known.request(), compiler.of(known)).origin == Origin::compiled);
  CHECK(names_below(layer) == damaged);
  CHECK_THAT(warnings.at(0), Contains("read-only"));
}

TEST_CASE_METHOD(ModesFixture, "mode ro reads, compiles, and changes nothing", "[cache][modes]") {
  const auto before = names_below(directory.path());
  cache::TiersOptions reading = options();
  reading.mode = CacheMode::ro;
  reading.root = layer;
  {
    const auto cache = open(reading);
    CHECK(cache->get(known.request(), compiler.of(known)).origin == Origin::disk);
    CHECK(cache->get(unknown.request(), compiler.of(unknown)).origin == Origin::compiled);
    CHECK(cache->get(unknown.request(), compiler.of(unknown)).origin == Origin::memory);
    CHECK(cache->statistics().counts()[Counter::publish_failed] == 0);
  }
  CHECK(names_below(directory.path()) == before);
  CHECK(warnings.empty());
}

TEST_CASE_METHOD(ModesFixture, "mode off reads nothing", "[cache][modes]") {
  cache::TiersOptions off = options();
  off.mode = CacheMode::off;
  off.root = layer;
  off.read_only = {layer};
  CHECK(open(off)->get(known.request(), compiler.of(known)).origin == Origin::compiled);
}

TEST_CASE_METHOD(ModesFixture, "mode only never compiles, and names the nearest entry and what differs",
                 "[cache][modes]") {
  cache::TiersOptions only = options();
  only.mode = CacheMode::only;
  only.read_only = {layer};
  const auto cache = open(only);
  CHECK(cache->get(known.request(), compiler.of(known)).origin == Origin::disk);
  try {
    cache->get(unknown.request(), compiler.of(unknown));
    FAIL("compiled");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::not_cached);
    CHECK_THAT(error.what(), Contains(util::to_hex(unknown.key).substr(0, 12)));
    CHECK_THAT(error.what(), Contains(util::to_hex(known.key).substr(0, 12)));
    CHECK_THAT(error.what(), Contains("spec.number (wanted 2, there 1)"));
    CHECK_THAT(error.detail(), Contains(layer));
  }
  CHECK(compiler.calls == 0);
  CHECK(cache->statistics().counts()[Counter::refused] == 1);
  CHECK_FALSE(fs::exists(root));
  cache::TiersOptions empty = options();
  empty.mode = CacheMode::only;
  CHECK_THROWS_WITH(open(empty)->get(known.request(), compiler.of(known)), Contains("there is no entry at all"));
}

TEST_CASE("differences name the fields of two key documents", "[cache][explain]") {
  const auto lines = [](const char* wanted, const char* found) {
    std::string text;
    for (const auto& each : cache::differences(wanted, found)) {
      text += each.field + ": " + each.wanted + " | " + each.found + "\n";
    }
    return text;
  };
  CHECK(lines(R"({"a":1})", R"({"a":1})").empty());
  CHECK(lines(R"({"target":"sm_80"})", R"({"target":"sm_90a"})") == "target: sm_80 | sm_90a\n");
  CHECK(lines(R"({"compiler":{"name":"nvrtc","build_id":"91"}})", R"({"compiler":{"name":"nvrtc","build_id":"65"}})") ==
        "compiler.build_id: 91 | 65\n");
  CHECK(
      lines(R"({"headers":[["a.cuh","1"],["b.cuh","2"]]})", R"({"headers":[["a.cuh","1"],["b.cuh","3"],["c","4"]]})") ==
      "headers[b.cuh]: 2 | 3\nheaders[c]: none | 4\n");
  // Of rows with one name the last counts, on either side.
  CHECK(lines(R"({"headers":[["a","1"],["b","2"]]})", R"({"headers":[["a","9"],["b","2"],["a","1"]]})").empty());
  CHECK(lines(R"({"headers":[["c","1"],["c","2"]]})", R"({"headers":[["d","1"],["d","2"]]})") ==
        "headers[c]: 2 | none\nheaders[d]: none | 2\n");
  CHECK(lines(R"({"options":["-a","-b"]})", R"({"options":["-a","-c"]})") == "options: -b | -c\n");
  CHECK(lines(R"({"options":["-a","-b"]})", R"({"options":["-b","-a"]})") ==
        "options: [\"-a\",\"-b\"] | [\"-b\",\"-a\"]\n");
  CHECK(lines(R"({"x":1})", R"({"y":2})") == "x: 1 | none\ny: none | 2\n");
  CHECK(lines("{", "[]") == "key document: { | []\n");
}

TEST_CASE("key documents of any size and depth are compared, or left", "[cache][explain]") {
  // As many rows as the bounds allow: a look-up for each would take minutes.
  std::string rows;
  for (int i = 0; i < 60000; ++i) rows += fmt::format("{}[\"h{}\",\"v\"]", i == 0 ? "" : ",", i);
  std::string members;
  for (int i = 0; i < 60000; ++i) members += fmt::format(",\"m{}\":1", i);
  const std::string wanted = R"({"headers":[["h1","v"],["new","v"]],"target":"a"})";
  const auto table = cache::differences(wanted, "{\"headers\":[" + rows + "],\"target\":\"b\"}");
  REQUIRE(table.size() == 60001);
  CHECK(table[0].field == "headers[new]");
  CHECK(table.back().field == "target");
  CHECK(cache::differences(wanted, "{\"target\":\"a\"" + members + "}").size() == 60001);
  const std::string deep = "{\"spec\":" + std::string(500000, '[') + std::string(500000, ']') + "}";
  CHECK(cache::differences(wanted, deep).at(0).field == "key document");
}

TEST_CASE("an entry whose documents are nested too deeply is damaged, and harms nobody who looks", "[cache][explain]") {
  FaultFixture fixture;
  FakeCompiler compiler;
  const std::size_t levels = 500000;
  const std::string nested = std::string(levels, '[') + std::string(levels, ']');
  const std::string placeholder = "\"" + std::string(nested.size() - 2, 'x') + "\"";
  const bool in_key_document = GENERATE(true, false);
  FakeRequest hostile(1);
  const auto plant = [&] {
    cache::Entry entry = hostile.entry();
    if (!in_key_document) entry.meta = placeholder;
    std::vector<std::byte> file = cache::encode_entry(hostile.key, entry);
    const auto from = std::as_bytes(std::span(placeholder));
    const auto to = std::as_bytes(std::span(nested));
    const auto at = std::search(file.begin(), file.end(), from.begin(), from.end());
    REQUIRE(at != file.end());
    std::copy(to.begin(), to.end(), at);
    sign(file);
    put(fixture.path_of(hostile), file);
  };
  if (in_key_document) {
    hostile.fields = {{"target", "\"sm_80\""}, {"spec", placeholder}};
    hostile.key = util::key_digest(hostile.fields);
    hostile.key_document = util::key_document(hostile.fields);
  }
  fixture.open()->get(hostile.request(), compiler.of(hostile));
  plant();
  REQUIRE(fixture.scan().size() == 1);
  CHECK(fixture.scan()[0].finding == cache::Finding::corrupt);
  CHECK_THAT(fixture.scan()[0].reason, Contains("is nested deeper than the allowed 16 levels"));
  const FakeRequest wanted(2);
  CHECK_FALSE(fixture.open()->tiers().nearest(wanted.key_document));
  cache::TiersOptions only = fixture.options();
  only.mode = CacheMode::only;
  CHECK_THROWS_AS(fixture.open(only)->get(wanted.request(), compiler.of(wanted)), Error);
  // Nor is one written that could not be read again.
  cache::Entry deep = wanted.entry();
  deep.meta = nested;
  CHECK_THROWS_WITH(cache::encode_entry(wanted.key, deep), Contains("metadata of a cache entry is nested"));
  deep.meta.resize(2 * util::kMaxJsonBytes);
  CHECK_THROWS_WITH(cache::encode_entry(wanted.key, deep), Contains("metadata of a cache entry has 2097152 bytes"));
}

TEST_CASE("F22 an NVRTC update is a miss, and the explanation names its field", "[cache][fault][explain]") {
  FaultFixture fixture;
  const auto request_of = [](const char* build, const char* target, int number) {
    FakeRequest request(number);
    request.fields = {{"target", fmt::format("\"{}\"", target)},
                      {"compiler", fmt::format("{{\"build_id\":\"{}\"}}", build)},
                      {"spec", fmt::format("{{\"number\":{}}}", number)}};
    request.key = util::key_digest(request.fields);
    request.key_document = util::key_document(request.fields);
    return request;
  };
  const auto cache = fixture.open();
  FakeCompiler compiler;
  const FakeRequest before = request_of("65be", "sm_80", 1);
  for (const FakeRequest& there : {request_of("91c2", "sm_80", 2), request_of("91c2", "sm_90a", 1), before}) {
    cache->get(there.request(), compiler.of(there));
  }
  const FakeRequest now = request_of("91c2", "sm_80", 1);
  CHECK(cache->get(now.request(), compiler.of(now)).origin == Origin::compiled);
  cache::Store(fixture.root, fixture.log(), {}).remove(now.key);
  // The same spec for the same target comes before entries with fewer differences.
  const auto nearest = cache->tiers().nearest(now.key_document);
  REQUIRE(nearest);
  CHECK(nearest->key == util::to_hex(before.key));
  REQUIRE(nearest->differences.size() == 1);
  CHECK(nearest->differences[0].field == "compiler.build_id");
  CHECK(nearest->differences[0].wanted == "91c2");
  CHECK(nearest->differences[0].found == "65be");
}

TEST_CASE("the statistics of a directory are the sum over all that used it", "[cache][statistics]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  for (int i = 0; i < 5; ++i) {
    const int result = in_child([&] {
      FakeCompiler compiler;
      {
        const auto cache = fixture.open();
        for (int round = 0; round < 3; ++round) cache->get(request.request(), compiler.of(request));
      }
      return 0;
    });
    CHECK(result == 0);
  }
  const cache::Counts totals = fixture.totals();
  CHECK(totals[Counter::compiled] == 1);
  CHECK(totals[Counter::disk_hits] == 4);
  CHECK(totals[Counter::memory_hits] == 10);
  CHECK(totals.lookups() == 15);
  CHECK(cache::read_totals(fixture.root, {}).since > 1700000000);
}

TEST_CASE("statistics are written on demand and once", "[cache][statistics]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  FakeCompiler compiler;
  fixture.open()->get(request.request(), compiler.of(request));
  auto* const leaked = fixture.open().release();
  leaked->get(request.request(), compiler.of(request));
  CHECK(fixture.totals()[Counter::disk_hits] == 0);
  leaked->statistics().flush();
  CHECK(fixture.totals()[Counter::disk_hits] == 1);
  leaked->statistics().flush();
  CHECK(fixture.totals()[Counter::disk_hits] == 1);
  delete leaked;
  CHECK(fixture.totals()[Counter::disk_hits] == 1);
}

TEST_CASE("statistics are written where there are no locks", "[cache][statistics]") {
  FaultFixture fixture;
  fixture.io.on_flock = [](int, int) { return fail_with(ENOLCK); };
  const FakeRequest request(1);
  FakeCompiler compiler;
  for (int i = 0; i < 3; ++i) fixture.open()->get(request.request(), compiler.of(request));
  CHECK(fixture.totals()[Counter::compiled] == 1);
  CHECK(fixture.totals()[Counter::disk_hits] == 2);
  CHECK(fixture.totals()[Counter::lock_degraded] == 1);
}

TEST_CASE("statistics that cannot be written whole stay as they were", "[cache][statistics]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  FakeCompiler compiler;
  fixture.open()->get(request.request(), compiler.of(request));
  std::size_t left = 300;
  fixture.io.on_write = [&](int fd, const void* from, std::size_t bytes) -> ssize_t {
    // A limit of 300 bytes for a file, as write(2) keeps it.
    const auto at = static_cast<std::size_t>(::lseek(fd, 0, SEEK_CUR));
    if (at >= left) return fail_with(EFBIG);
    return fixture.io.real.write(fd, from, std::min(bytes, left - at));
  };
  fixture.open()->get(request.request(), compiler.of(request));
  CHECK(fixture.totals().lookups() == 1);
  fixture.io.on_write = nullptr;
  fixture.open()->get(request.request(), compiler.of(request));
  CHECK(fixture.totals().lookups() == 2);
}

TEST_CASE("what others put into statistics is not kept", "[cache][statistics]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  FakeCompiler compiler;
  fixture.open()->get(request.request(), compiler.of(request));
  const std::string text = "{\"x\":" + std::string(450, '[') + std::string(450, ']') + ",\"compiled\":7}";
  for (const auto& file : fs::directory_iterator(fixture.root + "/v1/stats")) {
    put(file.path(), std::as_bytes(std::span(text)));
  }
  CHECK(fixture.totals().lookups() == 0);  // nested too deeply to be librt's
  const std::string foreign = "{\"compiled\":7,\"x\":\"" + std::string(980, 'x') + "\"}";
  for (const auto& file : fs::directory_iterator(fixture.root + "/v1/stats")) {
    put(file.path(), std::as_bytes(std::span(foreign)));
  }
  CHECK(fixture.totals()[Counter::compiled] == 7);
  fixture.open()->get(request.request(), compiler.of(request));
  CHECK(fixture.totals().lookups() == 8);
}

TEST_CASE("damaged statistics count as none and are replaced", "[cache][statistics]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  FakeCompiler compiler;
  fixture.open()->get(request.request(), compiler.of(request));
  for (const auto& file : fs::directory_iterator(fixture.root + "/v1/stats")) put(file.path(), {});
  CHECK(fixture.totals().lookups() == 0);
  fixture.open()->get(request.request(), compiler.of(request));
  CHECK(fixture.totals()[Counter::disk_hits] == 1);
}
