// Entries found by what they were compiled from: for machines without a compiler.
#include "src/cache/programs.hpp"

#include <librt/error.hpp>

#include <fcntl.h>

#include "src/cache/search_bound.hpp"
#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using namespace librt::test;
using cache::Counter;
using Catch::Contains;

namespace {

/// Program `number` as compiler `version`, build `build`, would make it.
FakeRequest compiled_by(const std::string& version, int number = 1, const std::string& build = "65be") {
  FakeRequest request(number);
  const std::string compiler = fmt::format("{{\"build_id\":\"{}\",\"version\":\"{}\"}}", build, version);
  request.fields.insert(request.fields.begin() + 1, util::KeyField{"compiler", compiler});
  request.key = util::key_digest(request.fields);
  request.key_document = util::key_document(request.fields);
  return request;
}

/// What a machine without a compiler asks for.
struct ProgramRequest : FakeRequest {
  using FakeRequest::FakeRequest;
  cache::EntryRequest request() const { return {key, key_document, {}, true}; }
};

struct ProgramsFixture : FaultFixture {
  FakeCompiler compiler;
  ProgramRequest program{1};

  void fill(const FakeRequest& request) { open()->get(request.request(), compiler.of(request)); }
  cache::EntryLookup found(const std::vector<util::Digest>& except = {}, bool writable = false) {
    return cache::Store(root, log(), {}, {.writable = writable}).find_program(program.key_document, {}, except);
  }
  std::vector<std::string> marks() const {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& item : fs::recursive_directory_iterator(root + "/v1/programs", error)) {
      if (!item.is_directory()) names.push_back(item.path());
    }
    return names;
  }
};

}  // namespace

TEST_CASE_METHOD(ProgramsFixture, "an entry is found by its program, the newest compiler's first",
                 "[cache][programs]") {
  const FakeRequest older = compiled_by("12.9"), newer = compiled_by("13.0"), newest = compiled_by("13.10");
  CHECK_FALSE(found().entry);
  fill(compiled_by("13.0", 2));
  CHECK_FALSE(found().entry);
  fill(newer);
  CHECK(found().key == newer.key);
  fill(newest);
  fill(older);
  CHECK(found().key == newest.key);
  CHECK(newest.is(found().entry.value()));
  CHECK(found({newest.key}).key == newer.key);
  CHECK(found({newest.key, newer.key}).key == older.key);
  CHECK_FALSE(found({newest.key, newer.key, older.key}).entry);
  CHECK(marks().size() == 4);
  for (const std::string& mark : marks()) CHECK(fs::file_size(mark) == 0);
}

TEST_CASE_METHOD(ProgramsFixture, "a cache without a compiler hits, in every mode and tier, moved and copied",
                 "[cache][programs]") {
  const FakeRequest by_another = compiled_by("13.0");
  fill(by_another);
  fs::copy(root, directory / "layer", fs::copy_options::recursive);
  cache::TiersOptions layered = options();
  layered.mode = GENERATE(CacheMode::rw, CacheMode::ro, CacheMode::only);
  const bool own = GENERATE(true, false);
  if (!own) {
    layered.root = directory / "nothing here";
    layered.read_only = {directory / "layer"};
  }
  const auto cache = open(layered);
  const auto never = []() -> cache::Entry { throw Error(ErrorCode::no_nvrtc, "there is none"); };
  const auto got = cache->get(program.request(), never);
  CHECK(got.origin == Origin::disk);
  CHECK(by_another.is(*got.value));
  CHECK(cache->get(program.request(), never).origin == Origin::memory);
  CHECK(cache->tiers().locate(program.request()) == by_another.key);
  CHECK(cache->statistics().counts()[Counter::disk_hits] == 1);

  const ProgramRequest unknown(2);
  const auto code = layered.mode == CacheMode::only ? ErrorCode::not_cached : ErrorCode::no_nvrtc;
  try {
    cache->get(unknown.request(), never);
    FAIL("made");
  } catch (const Error& error) {
    CHECK(error.code() == code);
    // A compiler that was not asked for is no difference.
    if (code == ErrorCode::not_cached) {
      CHECK_THAT(error.what(), Contains("spec.number (wanted 2, there 1)") && !Contains("compiler"));
    }
  }
}

TEST_CASE_METHOD(ProgramsFixture, "a mark says where to look, and the key document what is there",
                 "[cache][programs]") {
  const FakeRequest other = compiled_by("13.0", 2), mine = compiled_by("12.0");
  fill(other);
  fill(mine);
  const auto format = cache::open_format(root, cache::IfAbsent::report);
  const util::Digest wanted = cache::program_of(program.key_document);
  util::Digest nothing{};
  for (const util::Digest& wrong : {other.key, nothing}) {
    CHECK_FALSE(cache::mark_program(std::get<cache::Directory>(format), wanted, wrong));
  }
  CHECK(marks().size() == 4);
  CHECK(found().key == mine.key);
  CHECK_FALSE(found({mine.key}).entry);
  CHECK(warnings.empty());
}

TEST_CASE_METHOD(ProgramsFixture, "marks of entries that are gone are collected", "[cache][programs]") {
  fill(compiled_by("13.0"));
  fill(compiled_by("13.0", 2));
  REQUIRE(marks().size() == 2);
  cache::Store store(root, log(), {}, {.io = &io});
  REQUIRE(store.remove(compiled_by("13.0").key));
  CHECK_FALSE(found().entry);
  SECTION("by the collector") {
    CHECK(store.collect({.dry_run = true}).done);
    CHECK(marks().size() == 2);
    CHECK(store.collect({}).done);
    CHECK(marks().size() == 1);
  }
  SECTION("by a repair") {
    store.repair();
    CHECK(marks().size() == 1);
  }
  SECTION("with all entries") {
    CHECK(store.clear().entries == 1);
    CHECK(marks().empty());
  }
}

TEST_CASE_METHOD(ProgramsFixture, "an entry without a mark is found by a search, and marked by a hit",
                 "[cache][programs]") {
  const FakeRequest known = compiled_by("13.0");
  fill(known);
  fs::remove_all(root + "/v1/programs");
  CHECK(found().key == known.key);
  CHECK(marks().empty());  // not by one that only reads
  CHECK(open()->get(known.request(), compiler.of(known)).origin == Origin::disk);
  CHECK(marks().size() == 1);
  CHECK(compiler.calls == 1);
}

TEST_CASE_METHOD(ProgramsFixture, "a search without marks is bounded, and one for all programs", "[cache][programs]") {
  constexpr int kEntries = 40;
  static_assert(kEntries > static_cast<int>(cache::SearchBound::kAtLeast));
  for (int number = 100; number < 100 + kEntries; ++number) fill(compiled_by("13.0", number));
  fs::remove_all(root + "/v1/programs");
  std::size_t entries_read = 0;
  io.on_open = [&](int parent, const char* name, int flags, mode_t mode) {
    entries_read += std::string_view(name).ends_with(".rtk") ? 1 : 0;
    return io.real.open(parent, name, flags, mode);
  };
  io.on_clock = [&] { return entries_read * cache::SearchBound::kTime; };  // a very slow disk
  cache::Store store(root, log(), {}, {.writable = false, .io = &io});
  CHECK_FALSE(store.find_program(program.key_document).entry);
  CHECK(entries_read == cache::SearchBound::kAtLeast);
  CHECK_FALSE(store.find_program(ProgramRequest(2).key_document).entry);
  CHECK(entries_read == cache::SearchBound::kAtLeast);
}

TEST_CASE_METHOD(ProgramsFixture, "a mark that cannot be made costs nothing but itself", "[cache][programs]") {
  io.on_open = [&](int parent, const char* name, int flags, mode_t mode) {
    const bool is_mark = (flags & O_CREAT) != 0 && std::string(name).find("-") == 62;
    return is_mark ? fail_with(ENOSPC) : io.real.open(parent, name, flags, mode);
  };
  const FakeRequest request = compiled_by("13.0");
  fill(request);
  CHECK(marks().empty());
  CHECK(fs::exists(path_of(request)));
  CHECK(warnings.empty());
}

TEST_CASE_METHOD(FaultFixture, "mode only names the nearest of a bounded number of entries, and searches once",
                 "[cache][modes][explain]") {
  constexpr int kEntries = 600;
  static_assert(kEntries > static_cast<int>(cache::SearchBound::kAtMost));
  FakeCompiler compiler;
  {
    const auto filling = open();
    for (int i = 0; i < kEntries; ++i) {
      const FakeRequest request(i, 100);
      filling->get(request.request(), compiler.of(request));
    }
  }
  std::size_t entries_read = 0;
  io.on_open = [&](int parent, const char* name, int flags, mode_t mode) {
    entries_read += std::string_view(name).ends_with(".rtk") ? 1 : 0;
    return io.real.open(parent, name, flags, mode);
  };
  cache::TiersOptions only = options();
  only.mode = CacheMode::only;
  const auto cache = open(only);
  // At most 512 entries, and none after a tenth of a second, but for the first 32.
  const auto [milliseconds_each, looked_at] = GENERATE(table<std::size_t, std::size_t>(
      {{0, cache::SearchBound::kAtMost}, {1, cache::SearchBound::kTime.count()}, {50, cache::SearchBound::kAtLeast}}));
  io.on_clock = [&, each = milliseconds_each] { return std::chrono::milliseconds(each * entries_read); };
  const FakeRequest unknown(kEntries);
  const auto refusal = [&] {
    entries_read = 0;
    try {
      cache->get(unknown.request(), compiler.of(unknown));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("made");
  };
  const std::string first = refusal();
  CHECK_THAT(first, Contains("the nearest of the entries looked at (`librt cache why` looks at all)") &&
                        Contains("spec.number (wanted 600"));
  CHECK(entries_read >= looked_at);
  CHECK(entries_read <= looked_at + 1);  // the one that it looked for
  CHECK(refusal() == first);
  CHECK(entries_read <= 1);

  entries_read = 0;
  CHECK(cache->tiers().nearest(unknown.key_document)->of_all);
  CHECK(entries_read == kEntries);
}
