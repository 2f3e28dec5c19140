// What the store does when the disk, another user or another program is against it.
#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "src/cache/directory.hpp"
#include "src/cache/store.hpp"
#include "tests/unit/cache/sample.hpp"

using namespace librt;
using Catch::Contains;
namespace fs = std::filesystem;

namespace {

/// Runs `body` in a forked child; its result is the child's exit status.
template <class Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

struct PublishedFixture : test::StoreFixture {
  test::Sample sample;
  std::string path = store.path_of(sample.key);

  PublishedFixture() { REQUIRE(store.publish(sample.key, sample.entry)); }

  /// Neither used nor touched, and said once.
  void check_untrusted(const std::string& reason) {
    for (int i = 0; i < 2; ++i) {
      const cache::EntryLookup found = store.find(sample.key, sample.key_document);
      CHECK_FALSE(found.entry);
      CHECK_FALSE(found.corrupt);
      CHECK_THAT(found.untrusted.value_or(""), Contains(reason));
    }
    REQUIRE(warnings.size() == 1);
    CHECK_THAT(warnings[0], Contains(reason));
  }
};

}  // namespace

TEST_CASE_METHOD(PublishedFixture, "a file or directory that others can write is not used", "[cache][faults]") {
  const std::string shard = fs::path(path).parent_path();
  const std::string victim = GENERATE_COPY(values<std::string>({"entry", "shard", "objects", "v1", "root"}));
  CAPTURE(victim);
  const std::string target = victim == "entry"     ? path
                             : victim == "shard"   ? shard
                             : victim == "objects" ? root + "/v1/objects"
                             : victim == "v1"      ? root + "/v1"
                                                   : root;
  const mode_t mode = victim == "entry" ? 0620 : 0702;
  REQUIRE(::chmod(target.c_str(), mode) == 0);
  check_untrusted("can be written by others");
  CHECK_THAT(warnings[0], Contains(target));
  CHECK(fs::exists(path));
  if (victim != "entry") {
    CHECK_FALSE(store.publish(sample.key, sample.entry));
    CHECK(warnings.size() == 1);  // the same reason is not said again
  }
}

TEST_CASE_METHOD(PublishedFixture, "another user's file is not used", "[cache][faults]") {
  if (::geteuid() == 0) {
    REQUIRE(::chown(path.c_str(), 12345, 12345) == 0);
    check_untrusted("belongs to user 12345");
    CHECK(fs::exists(path));
  } else {
    WARN("skipped in part: only root can give a file to another user");
  }
  struct stat status {};
  status.st_mode = S_IFREG | 0600;
  status.st_uid = ::geteuid();
  CHECK_FALSE(cache::distrust(status));
  status.st_uid = 0;
  CHECK_FALSE(cache::distrust(status));
  status.st_uid = ::geteuid() + 1;
  CHECK_THAT(cache::distrust(status).value_or(""), Contains("belongs to user"));
}

TEST_CASE_METHOD(PublishedFixture, "a symbolic link in place of an entry is not followed", "[cache][faults]") {
  const std::string outside = directory / "outside";
  fs::rename(path, outside);
  const auto before = test::contents_of(outside);
  fs::create_symlink(outside, path);
  check_untrusted("is a symbolic link");
  CHECK(fs::is_symlink(path));
  REQUIRE(store.publish(sample.key, sample.entry));
  CHECK(fs::symlink_status(path).type() == fs::file_type::regular);
  CHECK(test::contents_of(outside) == before);
}

TEST_CASE_METHOD(PublishedFixture, "a symbolic link in place of a directory is not followed", "[cache][faults]") {
  const std::string name = GENERATE_COPY(values<std::string>({"/v1", "/v1/objects", "/v1/objects/SHARD"}));
  CAPTURE(name);
  std::string victim = root + name;
  if (const auto at = victim.find("SHARD"); at != std::string::npos) victim = fs::path(path).parent_path();
  const std::string outside = directory / "outside";
  fs::rename(victim, outside);
  fs::create_symlink(outside, victim);
  const std::size_t files = test::files_below(outside);
  check_untrusted("is not a directory of the cache");
  CHECK_FALSE(store.publish(sample.key, sample.entry));
  CHECK(store.clear().entries == 0);
  CHECK(test::files_below(outside) == files);
  const auto scanned = store.scan();
  REQUIRE(scanned.size() == 1);
  CHECK(scanned[0].finding == cache::Finding::untrusted);
}

TEST_CASE_METHOD(PublishedFixture, "temporary files are not written through a symbolic link", "[cache][faults]") {
  const std::string outside = directory / "outside";
  fs::create_directory(outside);
  test::put(outside + "/1-0123456789abcdef.tmp", {});
  fs::remove(temporaries());
  fs::create_directory_symlink(outside, temporaries());
  CHECK_FALSE(store.publish(sample.key, sample.entry));
  CHECK(store.clear().entries == 1);
  CHECK(test::files_below(outside) == 1);
}

TEST_CASE_METHOD(PublishedFixture, "the root itself may be a symbolic link", "[cache][faults]") {
  fs::create_directory_symlink(root, directory / "link");
  root = directory / "link";
  cache::Store linked = open();
  CHECK(linked.find(sample.key, sample.key_document).entry);
  CHECK(linked.publish(sample.key, sample.entry));
  CHECK(warnings.empty());
}

TEST_CASE_METHOD(PublishedFixture, "a pipe in place of an entry does not hang", "[cache][faults]") {
  fs::remove(path);
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  check_untrusted("not a regular file");
  CHECK(fs::exists(path));
  CHECK(store.scan().at(0).finding == cache::Finding::untrusted);
}

TEST_CASE_METHOD(PublishedFixture, "a directory in place of an entry is left alone", "[cache][faults]") {
  fs::remove(path);
  fs::create_directory(path);
  check_untrusted("not a regular file");
  CHECK_FALSE(store.publish(sample.key, sample.entry));
  CHECK(fs::is_empty(temporaries()));
  CHECK(fs::is_directory(path));
}

TEST_CASE_METHOD(PublishedFixture, "a huge file is refused before memory is taken for it", "[cache][faults]") {
  fs::resize_file(path, std::uintmax_t{2} << 30);  // sparse
  const cache::EntryLookup found = store.find(sample.key, sample.key_document);
  CHECK_THAT(found.corrupt.value_or(""), Contains("2147483648 bytes; at most 67108864"));
  CHECK_FALSE(fs::exists(path));
}

TEST_CASE_METHOD(PublishedFixture, "an entry that was replaced meanwhile is not removed", "[cache][faults]") {
  auto objects = cache::open_objects(root, cache::IfAbsent::report);
  const auto shard = cache::open_below(std::get<cache::Directory>(objects), cache::entry_name(sample.key).shard,
                                       cache::IfAbsent::report);
  const auto& opened = std::get<cache::Directory>(shard);
  const std::string name = cache::entry_name(sample.key).file;
  struct stat seen {};
  REQUIRE(std::holds_alternative<cache::FileContents>(cache::read_trusted(opened, name, cache::kMaxEntryBytes, seen)));
  REQUIRE(store.publish(sample.key, sample.entry));
  CHECK_FALSE(cache::remove_if_unchanged(opened, name, seen));
  CHECK(fs::exists(path));
  REQUIRE(std::holds_alternative<cache::FileContents>(cache::read_trusted(opened, name, cache::kMaxEntryBytes, seen)));
  CHECK(cache::remove_if_unchanged(opened, name, seen));
  CHECK_FALSE(fs::exists(path));
  CHECK(cache::remove_if_unchanged(opened, name, seen));  // gone already is as good
}

TEST_CASE("a file in place of a directory fails no request", "[cache][faults]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  const std::string name =
      GENERATE_COPY(values<std::string>({"", "/v1", "/v1/objects", std::string("/v1/") + cache::kTemporaryDirectory}));
  CAPTURE(name);
  fs::create_directories(fs::path(fixture.root + name).parent_path());
  test::put(fixture.root + name, {});
  for (int i = 0; i < 2; ++i) {
    CHECK_FALSE(fixture.store.find(sample.key, sample.key_document).entry);
    CHECK_FALSE(fixture.store.publish(sample.key, sample.entry));
  }
  REQUIRE(fixture.warnings.size() == 1);
  CHECK_THAT(fixture.warnings.back(), Contains(fixture.root + name));
  CHECK(fs::is_regular_file(fixture.root + name));
  CHECK(fixture.store.clear().entries == 0);
}

TEST_CASE("a root that cannot be created fails no request", "[cache][faults]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  fixture.root = "/proc/no-such-directory/cache";
  cache::Store store = fixture.open();
  CHECK_FALSE(store.find(sample.key, sample.key_document).entry);
  CHECK_FALSE(store.publish(sample.key, sample.entry));
  CHECK_FALSE(store.publish(sample.key, sample.entry));
  REQUIRE(fixture.warnings.size() == 1);
  CHECK_THAT(fixture.warnings[0], Contains("/proc/no-such-directory"));
}

TEST_CASE_METHOD(PublishedFixture, "a directory without write permission still serves its entries", "[cache][faults]") {
  // As another user, since permissions do not bind root.
  const test::Sample other{.fields = {{"schema", "2"}}};
  for (const auto& item : fs::recursive_directory_iterator(directory.path())) {
    fs::permissions(item, item.is_directory() ? fs::perms(0555) : fs::perms(0444));
  }
  fs::permissions(directory.path(), fs::perms(0755));
  const int result = in_child([&] {
    if (::geteuid() == 0 && ::setuid(12345) != 0) return 1;
    if (!store.find(sample.key, sample.key_document).entry) return 2;
    if (store.publish(other.key, other.entry)) return 3;
    if (store.publish(other.key, other.entry)) return 4;
    return warnings.size() == 1 ? 0 : 5;
  });
  CHECK(result == 0);
  for (const auto& item : fs::recursive_directory_iterator(directory.path())) {
    if (item.is_directory()) fs::permissions(item, fs::perms(0700));
  }
}

TEST_CASE("a disk that is full leaves nothing behind and fails no request", "[cache][faults]") {
  test::StoreFixture fixture;
  test::Sample sample;
  sample.entry.cubin.assign(200000, std::byte{1});
  const int result = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{50000, 50000};  // the write is short first, and an error then
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    if (fixture.store.publish(sample.key, sample.entry)) return 2;
    if (fixture.store.publish(sample.key, sample.entry)) return 3;
    if (fixture.store.find(sample.key, sample.key_document).entry) return 4;
    return fixture.warnings.size() == 1 ? 0 : 5;
  });
  CHECK(result == 0);
  CHECK(test::files_below(fixture.root) == 1);  // CACHEDIR.TAG
  REQUIRE(fixture.store.publish(sample.key, sample.entry));
  CHECK(fixture.store.find(sample.key, sample.key_document).entry);
}

TEST_CASE_METHOD(PublishedFixture, "running out of file descriptors fails no request", "[cache][faults]") {
  const int result = in_child([&] {
    const rlimit limit{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    if (store.find(sample.key, sample.key_document).entry) return 2;
    if (store.publish(sample.key, sample.entry)) return 3;
    return 0;
  });
  CHECK(result == 0);
  CHECK(store.find(sample.key, sample.key_document).entry);
}

TEST_CASE("an entry that is too large is not published", "[cache][faults]") {
  test::StoreFixture fixture;
  test::Sample sample;
  sample.entry.cubin.resize(cache::kMaxEntryBytes);
  CHECK_FALSE(fixture.store.publish(sample.key, sample.entry));
  CHECK(fixture.warnings.size() == 1);
}
