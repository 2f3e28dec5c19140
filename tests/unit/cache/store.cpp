#include "src/cache/store.hpp"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "src/util/files.hpp"
#include "tests/unit/cache/sample.hpp"

using namespace librt;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

unsigned mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::lstat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

std::time_t mtime_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mtim.tv_sec;
}

void set_mtime(const std::string& path, std::time_t seconds) {
  const timespec times[2] = {{seconds, 0}, {seconds, 0}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

}  // namespace

TEST_CASE("what was published is found", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  CHECK_FALSE(fixture.store.find(sample.key, sample.key_document).entry);
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  const cache::EntryLookup found = fixture.store.find(sample.key, sample.key_document);
  REQUIRE(found.entry);
  CHECK(test::same(*found.entry, sample.entry));
  CHECK_FALSE(found.corrupt);
  CHECK_FALSE(found.untrusted);
  CHECK(fixture.warnings.empty());
  CHECK(fixture.open().find(sample.key, sample.key_document).entry);

  cache::Entry second = sample.entry;
  second.source = "another";
  REQUIRE(fixture.store.publish(sample.key, second));
  CHECK(fixture.store.find(sample.key, sample.key_document).entry->source == "another");
}

TEST_CASE("nothing is created before the first publish", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  fixture.store.find(sample.key, sample.key_document);
  CHECK(fixture.store.scan().empty());
  CHECK(fixture.store.clear().entries == 0);
  CHECK(fs::is_empty(fixture.directory.path()));
  CHECK(fixture.warnings.empty());
}

TEST_CASE("the files lie where the README says, readable by their owner only", "[cache][store]") {
  test::StoreFixture fixture;
  fixture.root = fixture.directory / "some/new/cache";
  cache::Store store = fixture.open();
  const test::Sample sample;
  REQUIRE(store.publish(sample.key, sample.entry));
  const std::string hex = util::to_hex(sample.key);
  const std::string shard = fixture.root + "/v1/objects/" + hex.substr(0, 2);
  const std::string path = shard + "/" + hex.substr(2) + ".rtk";
  CHECK(store.path_of(sample.key) == path);
  CHECK(mode_of(path) == 0600);
  for (const std::string& directory : {fixture.directory / "some", fixture.root, fixture.root + "/v1",
                                       fixture.root + "/v1/objects", fixture.temporaries(), shard}) {
    CAPTURE(directory);
    CHECK(mode_of(directory) == 0700);
  }
  CHECK(fs::is_empty(fixture.temporaries()));
  CHECK(util::read_text_file(fixture.root + "/CACHEDIR.TAG", 1000)
            .starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
  CHECK(test::contents_of(path) == cache::encode_entry(sample.key, sample.entry));
}

TEST_CASE("a directory that holds other things is not marked as a cache", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  fs::create_directory(fixture.root);
  fs::permissions(fixture.root, fs::perms(0755));
  test::put(fixture.root + "/thesis.txt", {});
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  CHECK_FALSE(fs::exists(fixture.root + "/CACHEDIR.TAG"));
  CHECK(fixture.store.find(sample.key, sample.key_document).entry);
}

TEST_CASE("a hit marks the entry as used when its mark is older than an hour", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  const std::string path = fixture.store.path_of(sample.key);
  const std::time_t now = std::time(nullptr);
  set_mtime(path, now - 1800);
  REQUIRE(fixture.store.find(sample.key, sample.key_document).entry);
  CHECK(mtime_of(path) == now - 1800);
  set_mtime(path, now - 7200);
  fixture.store.scan();
  CHECK(mtime_of(path) == now - 7200);  // looking is not using
  REQUIRE(fixture.store.find(sample.key, sample.key_document).entry);
  CHECK(mtime_of(path) >= now - 1);
  CHECK(mtime_of(path) <= std::time(nullptr) + 1);
}

TEST_CASE("a damaged entry is removed, reported and logged, and can be published again", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  const std::string path = fixture.store.path_of(sample.key);
  auto bytes = test::contents_of(path);
  bytes[bytes.size() / 2] ^= std::byte{1};
  test::put(path, bytes);

  const cache::EntryLookup found = fixture.store.find(sample.key, sample.key_document);
  CHECK_FALSE(found.entry);
  REQUIRE(found.corrupt);
  CHECK_THAT(*found.corrupt, Contains("checksum"));
  CHECK_FALSE(fs::exists(path));
  REQUIRE(fixture.warnings.size() == 1);
  CHECK_THAT(fixture.warnings[0], Contains(path) && Contains("checksum"));
  CHECK_FALSE(fixture.store.find(sample.key, sample.key_document).corrupt);
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  CHECK(fixture.store.find(sample.key, sample.key_document).entry);
}

TEST_CASE("an entry cut at any byte is a miss that heals", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  const std::string path = fixture.store.path_of(sample.key);
  const auto good = test::contents_of(path);
  for (std::size_t size = 0; size < good.size(); ++size) {
    test::put(path, std::span(good).first(size));
    const cache::EntryLookup found = fixture.store.find(sample.key, sample.key_document);
    if (found.entry || !found.corrupt || fs::exists(path)) FAIL("cut at " << size << " of " << good.size());
  }
  test::put(path, good);
  CHECK(fixture.store.find(sample.key, sample.key_document).entry);
}

TEST_CASE("an entry under another's name is not used", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  util::Digest other = sample.key;
  other[31] ^= std::byte{1};
  fs::copy_file(fixture.store.path_of(sample.key), fixture.store.path_of(other));
  const cache::EntryLookup found = fixture.store.find(other, sample.key_document);
  CHECK_FALSE(found.entry);
  CHECK_THAT(found.corrupt.value_or(""), Contains("entry of key"));
  CHECK(fs::exists(fixture.store.path_of(sample.key)));
}

TEST_CASE("the whole key document is compared, not only its hash", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  cache::Entry forged = sample.entry;
  forged.key_document.back() = ' ';
  REQUIRE(fixture.store.publish(sample.key, forged));
  const cache::EntryLookup found = fixture.store.find(sample.key, sample.key_document);
  CHECK_FALSE(found.entry);
  CHECK_THAT(found.corrupt.value_or(""), Contains("key document"));
}

TEST_CASE("the caller's check decides over verified bytes only", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  int calls = 0;
  std::optional<std::string> verdict;
  cache::Store store = fixture.open([&](const cache::Entry& entry) {
    ++calls;
    CHECK(test::same(entry, sample.entry));
    return verdict;
  });
  REQUIRE(store.publish(sample.key, sample.entry));
  CHECK(store.find(sample.key, sample.key_document).entry);
  CHECK(calls == 1);

  verdict = "the cubin is for SM 80";
  const cache::EntryLookup found = store.find(sample.key, sample.key_document);
  CHECK_FALSE(found.entry);
  CHECK(found.corrupt == "the cubin is for SM 80");
  CHECK_FALSE(fs::exists(store.path_of(sample.key)));
  CHECK(calls == 2);

  test::put(store.path_of(sample.key), std::vector<std::byte>(1000));
  CHECK(store.find(sample.key, sample.key_document).corrupt);
  CHECK(calls == 2);
}

TEST_CASE("a check that throws makes a miss", "[cache][store]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  cache::Store store = fixture.open([](const cache::Entry&) -> std::optional<std::string> {
    throw std::runtime_error("cannot read the ELF header");
  });
  REQUIRE(store.publish(sample.key, sample.entry));
  CHECK(store.find(sample.key, sample.key_document).corrupt == "cannot read the ELF header");
}
