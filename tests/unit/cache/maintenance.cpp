#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <string>

#include "src/cache/store.hpp"
#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

test::Sample sample_of(int number) {
  test::Sample sample{.fields = {{"number", std::to_string(number)}}};
  return sample;
}

const cache::StoredFile& at(const std::vector<cache::StoredFile>& files, std::string_view path) {
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const cache::StoredFile& file) { return file.path == path; });
  REQUIRE(found != files.end());
  return *found;
}

}  // namespace

TEST_CASE("scan lists every entry with what it holds", "[cache][maintenance]") {
  test::StoreFixture fixture;
  for (int i = 0; i < 20; ++i) {
    const test::Sample sample = sample_of(i);
    REQUIRE(fixture.store.publish(sample.key, sample.entry));
  }
  const auto files = fixture.store.scan();
  REQUIRE(files.size() == 20);
  CHECK(std::is_sorted(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; }));
  for (int i = 0; i < 20; ++i) {
    const test::Sample sample = sample_of(i);
    const cache::StoredFile& file = at(files, fixture.store.path_of(sample.key));
    CHECK(file.finding == cache::Finding::ok);
    CHECK(file.key == util::to_hex(sample.key));
    CHECK(file.bytes == cache::encode_entry(sample.key, sample.entry).size());
    CHECK(file.last_used <= std::time(nullptr) + 1);
    CHECK(file.last_used >= std::time(nullptr) - 600);
    REQUIRE(file.entry);
    CHECK(test::same(*file.entry, sample.entry));
  }
}

TEST_CASE("scan says what is wrong with a file and leaves it there", "[cache][maintenance]") {
  test::StoreFixture fixture;
  const test::Sample good = sample_of(1);
  const test::Sample cut = sample_of(2);
  const test::Sample open = sample_of(3);
  const test::Sample refused = sample_of(4);
  for (const auto* sample : {&good, &cut, &open, &refused}) {
    REQUIRE(fixture.store.publish(sample->key, sample->entry));
  }
  fs::resize_file(fixture.store.path_of(cut.key), 150);
  REQUIRE(::chmod(fixture.store.path_of(open.key).c_str(), 0666) == 0);
  const std::string foreign = fs::path(fixture.store.path_of(good.key)).parent_path() / "notes.txt";
  test::put(foreign, {});
  const std::string stray = fixture.root + "/v1/objects/stray";
  test::put(stray, {});
  const std::size_t before = test::files_below(fixture.root);

  const cache::Store store = fixture.open([&](const cache::Entry& entry) -> std::optional<std::string> {
    if (entry.key_document == refused.key_document) return "wrong machine";
    return std::nullopt;
  });
  const auto files = store.scan();
  CHECK(files.size() == 6);
  CHECK(at(files, store.path_of(good.key)).finding == cache::Finding::ok);
  CHECK(at(files, store.path_of(cut.key)).finding == cache::Finding::corrupt);
  CHECK(at(files, store.path_of(cut.key)).bytes == 150);
  CHECK_THAT(at(files, store.path_of(cut.key)).reason, Contains("150 bytes"));
  CHECK(at(files, store.path_of(open.key)).finding == cache::Finding::untrusted);
  CHECK(at(files, store.path_of(refused.key)).finding == cache::Finding::corrupt);
  CHECK(at(files, store.path_of(refused.key)).reason == "wrong machine");
  CHECK(at(files, foreign).finding == cache::Finding::untrusted);
  CHECK(at(files, foreign).key.empty());
  CHECK(at(files, stray).finding == cache::Finding::untrusted);
  CHECK(test::files_below(fixture.root) == before);
}

TEST_CASE("a key opens one file, and a beginning of one those that begin so", "[cache][maintenance]") {
  test::FaultFixture fixture;
  test::FakeCompiler compiler;
  std::vector<std::string> keys;
  const auto add = [&](const test::FakeRequest& request) {
    fixture.open()->get(request.request(), compiler.of(request));
    keys.push_back(util::to_hex(request.key));
  };
  for (int i = 0; i < 20; ++i) add(test::FakeRequest(i, 100));
  // And two in the directory of one of these, whatever is there already.
  const std::string begin = keys[7].substr(0, 2);
  for (int i = 20; std::ranges::count_if(keys, [&](auto& key) { return key.starts_with(begin); }) < 3; ++i) {
    const test::FakeRequest request(i, 100);
    if (util::to_hex(request.key).starts_with(begin)) add(request);
  }
  std::size_t opened = 0;
  fixture.io.on_open = [&](int directory, const char* name, int flags, mode_t mode) {
    opened += std::string_view(name).ends_with(".rtk");
    return fixture.io.real.open(directory, name, flags, mode);
  };
  const cache::Store store(fixture.root, fixture.log(), {}, {.io = &fixture.io});
  const auto visited = [&](std::string_view prefix) {
    std::vector<std::string> found;
    store.visit([&](const cache::StoredFile& file, const cache::Store::VisitedFile*) { found.push_back(file.key); },
                prefix);
    return found;
  };
  CHECK(visited(keys[7]) == std::vector<std::string>{keys[7]});
  CHECK(opened == 1);
  CHECK(visited(keys[7].substr(0, 8)) == std::vector<std::string>{keys[7]});
  CHECK(opened == 2);
  CHECK(visited(begin).size() == 3);
  CHECK(opened == 5);
  CHECK(visited(std::string(64, '0')).empty());
  CHECK(visited("0000").empty());
  CHECK(opened <= 6);
}

TEST_CASE("scan of a root that may not be used says so", "[cache][maintenance]") {
  test::StoreFixture fixture;
  const test::Sample sample = sample_of(1);
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  REQUIRE(::chmod(fixture.root.c_str(), 0777) == 0);
  const auto files = fixture.store.scan();
  REQUIRE(files.size() == 1);
  CHECK(files[0].path == fixture.root);
  CHECK(files[0].finding == cache::Finding::untrusted);
  CHECK_THAT(files[0].reason, Contains("can be written by others"));
  CHECK_THAT(fixture.store.clear().problem, Contains("can be written by others"));
  CHECK(fs::exists(fixture.store.path_of(sample.key)));
}

TEST_CASE("clear removes entries and temporary files and nothing else", "[cache][maintenance]") {
  test::StoreFixture fixture;
  for (int i = 0; i < 3; ++i) {
    const test::Sample sample = sample_of(i);
    REQUIRE(fixture.store.publish(sample.key, sample.entry));
  }
  const std::string entry = fixture.store.path_of(sample_of(0).key);
  fs::resize_file(entry, 3);  // damaged ones go too
  const fs::path shard = fs::path(entry).parent_path();
  const std::string outside = fixture.directory / "outside";
  test::put(outside, {});
  test::put(fixture.temporaries() + "/123-0123456789abcdef.tmp", {});

  const std::vector<std::string> kept{shard / "notes.txt",
                                      shard / std::string(62, 'A').append(".rtk"),
                                      shard / std::string(61, 'a').append(".rtk"),
                                      fixture.temporaries() + "/notes.tmp",
                                      fixture.root + "/v1/objects/stray",
                                      fixture.root + "/own.txt",
                                      fixture.root + "/CACHEDIR.TAG",
                                      outside};
  for (const std::string& path : kept) {
    if (!fs::exists(path)) test::put(path, {});
  }
  const fs::path link = shard / std::string(62, 'a').append(".rtk");
  fs::create_symlink(outside, link);
  const fs::path linked_directory = fixture.root + "/v1/objects/zz";
  fs::create_directory_symlink(fixture.directory.path(), linked_directory);

  CHECK(fixture.store.clear().entries == 3);
  for (const std::string& path : kept) {
    CAPTURE(path);
    CHECK(fs::exists(path));
  }
  CHECK(fs::is_symlink(link));
  CHECK(fs::is_symlink(linked_directory));
  CHECK(fs::is_empty(fixture.temporaries()) == false);
  CHECK_FALSE(fs::exists(fixture.temporaries() + "/123-0123456789abcdef.tmp"));
  CHECK(fixture.store.clear().entries == 0);
}
