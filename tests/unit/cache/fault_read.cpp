// The fault matrix, faults 4 to 7, 12, 13, 15, 16, 22 and 25: what stands on the disk, and what may be done with it.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <random>

#include "tests/support/scoped_env.hpp"
#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using namespace librt::test;
using Catch::Contains;

namespace {

constexpr std::size_t kSmall = 300;  // bytes of code: these tests go through all of an entry

/// A store with one entry in it.
struct EntryFixture : FaultFixture {
  FakeRequest request{4, kSmall};
  std::string path = path_of(request);
  std::vector<std::byte> good;
  FakeCompiler compiler;

  EntryFixture() {
    open()->get(request.request(), compiler.of(request));
    good = contents_of(path);
    REQUIRE(good.size() > kSmall);
    compiler.calls = 0;
  }

  cache::EntryLookup find() {
    return cache::Store(root, log(), {}, {.fsync = false}).find(request.key, request.key_document);
  }
  /// A fresh process gets the right bytes, by a compile, and the next one from disk.
  void check_heals() {
    compiler.calls = 0;
    CHECK(request.is(*open()->get(request.request(), compiler.of(request)).value));
    CHECK(compiler.calls == 1);
    CHECK(open()->get(request.request(), compiler.of(request)).origin == Origin::disk);
    CHECK(compiler.calls == 1);
  }
  void set_mtime(std::int64_t seconds) const {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  }
};

}  // namespace

TEST_CASE_METHOD(EntryFixture, "F04 truncation", "[cache][fault]") {
  for (std::size_t size = 0; size < good.size(); ++size) {
    put(path, std::span(good).first(size));
    const cache::EntryLookup found = find();
    if (found.entry || !found.corrupt || fs::exists(path)) FAIL("cut at " << size << " of " << good.size());
  }
  put(path, std::span(good).first(good.size() / 2));
  check_heals();
}

TEST_CASE_METHOD(EntryFixture, "F05 bit flip", "[cache][fault]") {
  const auto flip = [&](std::size_t bit) {
    std::vector<std::byte> bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    put(path, bad);
    if (const cache::EntryLookup found = find(); found.entry || !found.corrupt) FAIL("bit " << bit);
  };
  const std::size_t sections = 4;
  for (std::size_t bit = 0; bit < 8 * (64 + 24 * sections); ++bit) flip(bit);
  std::mt19937 random(5);
  for (int i = 0; i < 10000; ++i) flip(random() % (8 * good.size()));
  check_heals();
}

TEST_CASE_METHOD(EntryFixture, "F06 hostile lengths", "[cache][fault]") {
  const auto with = [&](std::size_t at, std::uint64_t value, std::size_t width) {
    std::vector<std::byte> bad = good;
    for (std::size_t i = 0; i < width; ++i) bad[at + i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
    sign(bad);
    put(path, bad);
    const cache::EntryLookup found = find();
    CHECK_FALSE(found.entry);
    CHECK(found.corrupt);
  };
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  with(8, 0xffffffff, 4);  // sections
  with(16, kHuge, 8);      // size of the file
  for (std::size_t section = 0; section < 4; ++section) {
    for (const std::size_t field : {8, 16}) {
      for (const std::uint64_t value : {kHuge, kHuge - 63, kHuge / 2, std::uint64_t{1} << 32}) {
        with(64 + 24 * section + field, value, 8);
      }
    }
  }
  put(path, good);
  fs::resize_file(path, std::uintmax_t{2} << 30);  // sparse
  CHECK_THAT(find().corrupt.value_or(""), Contains("2147483648 bytes; at most 67108864"));
  check_heals();
}

TEST_CASE_METHOD(EntryFixture, "F07 swapped entries", "[cache][fault]") {
  const FakeRequest other(5, kSmall);
  fs::create_directories(fs::path(path_of(other)).parent_path());
  fs::permissions(fs::path(path_of(other)).parent_path(), fs::perms(0700));
  fs::copy_file(path, path_of(other));
  const auto got = open()->get(other.request(), compiler.of(other));
  CHECK(compiler.calls == 1);
  CHECK(other.is(*got.value));
  CHECK(find().entry);
}

TEST_CASE_METHOD(EntryFixture, "F12 a directory that cannot be written", "[cache][fault]") {
  const FakeRequest fresh(12);
  SECTION("without permission") {
    for (const auto& item : fs::recursive_directory_iterator(directory.path())) {
      fs::permissions(item, item.is_directory() ? fs::perms(0555) : fs::perms(0444));
    }
    fs::permissions(directory.path(), fs::perms(0755));
    const int result = in_child([&] {
      if (::geteuid() == 0 && ::setuid(12345) != 0) return 1;  // permissions do not bind root
      const auto cache = open();
      if (cache->get(request.request(), compiler.of(request)).origin != Origin::disk) return 2;
      if (!fresh.is(*cache->get(fresh.request(), compiler.of(fresh)).value)) return 3;
      if (cache->statistics().counts()[cache::Counter::publish_failed] != 1) return 4;
      return warnings.size() == 1 ? 0 : 5;
    });
    CHECK(result == 0);
    for (const auto& item : fs::recursive_directory_iterator(directory.path())) {
      if (item.is_directory()) fs::permissions(item, fs::perms(0700));
    }
  }
  SECTION("on a read-only file system") {
    io.on_open = [&](int at, const char* name, int flags, mode_t mode) {
      return (flags & O_ACCMODE) != O_RDONLY ? fail_with(EROFS) : io.real.open(at, name, flags, mode);
    };
    io.on_mkdir = [](int, const char*, mode_t) { return fail_with(EROFS); };
    const auto cache = open();
    CHECK(cache->get(request.request(), compiler.of(request)).origin == Origin::disk);
    CHECK(fresh.is(*cache->get(fresh.request(), compiler.of(fresh)).value));
    CHECK(cache->statistics().counts()[cache::Counter::lock_degraded] == 1);
    CHECK(warnings.size() == 1);
  }
  SECTION("in a home that cannot be made") {
    root = "/proc/nobody/.cache/librt";
    const auto cache = open();
    CHECK(fresh.is(*cache->get(fresh.request(), compiler.of(fresh)).value));
    CHECK(warnings.size() == 1);
  }
  SECTION("nowhere") {
    const ScopedEnv own("LIBRT_CACHE_DIR", nullptr), xdg("XDG_CACHE_HOME", nullptr), home("HOME", nullptr);
    CHECK(cache::locate("").path.empty());
    cache::TiersOptions none = options();
    none.root.clear();
    CHECK(fresh.is(*open(none)->get(fresh.request(), compiler.of(fresh)).value));
  }
}

TEST_CASE_METHOD(EntryFixture, "F13 clock skew", "[cache][fault]") {
  cache::Store store(root, log(), {}, {.io = &io});
  const std::int64_t now = std::time(nullptr);
  const auto used = [&] { return cache::Store(root, log(), {}).scan().at(0).last_used; };

  set_mtime(now + 10LL * 365 * 86400);
  CHECK(store.collect({.max_bytes = 1 << 20}).removed_entries == 0);
  CHECK(used() <= std::time(nullptr) + 1);  // as if it had been used now, not for ever
  set_mtime(now + 10LL * 365 * 86400);
  CHECK(store.find(request.key, request.key_document).entry);  // so does a hit
  CHECK(used() <= std::time(nullptr) + 1);

  // Of two, the one from 1970 goes first.
  const FakeRequest other(13, kSmall);
  open()->get(other.request(), compiler.of(other));
  set_mtime(0);
  const auto collected = store.collect({.max_bytes = good.size() + good.size() / 2});
  CHECK(collected.removed_keys == std::vector<std::string>{util::to_hex(request.key)});

  // This machine's clock a day behind or ahead: only the file system's counts for temporary files.
  put(temporaries() + "/1-0123456789abcdef.tmp", {});
  for (const std::int64_t skew : {-86400, 86400}) {
    struct : cache::IoOps {
      std::int64_t skew = 0;
      std::int64_t now() override { return std::time(nullptr) + skew; }
    } skewed;
    skewed.skew = skew;
    CHECK(cache::Store(root, log(), {}, {.io = &skewed}).collect({}).removed_temporaries == 0);
  }
}

TEST_CASE_METHOD(EntryFixture, "F15 hostile symlink", "[cache][fault]") {
  const std::string victim = directory / "victim";
  const std::string text = "not a kernel";
  const auto set_victim = [&] { put(victim, std::as_bytes(std::span(text))); };
  set_victim();
  const std::string outside = directory / "outside";
  fs::create_directory(outside);
  fs::permissions(outside, fs::perms(0700));
  const FakeRequest fresh(15);
  const std::string shard = fs::path(path).parent_path();
  const std::string fresh_shard = fs::path(path_of(fresh)).parent_path();
  REQUIRE(shard != fresh_shard);
  const std::string lock = root + "/v1/locks/" + cache::lock_name(fresh.key);

  const std::string what = GENERATE(values<std::string>(
      {"entry", "entry to a pipe", "entry to a device", "shard", "tmp", "lock", "lock to a pipe", "locks", "stats"}));
  CAPTURE(what);
  fs::create_directories(root + "/v1/stats");
  fs::permissions(root + "/v1/stats", fs::perms(0700));
  const auto link = [&](const std::string& name, const std::string& target) {
    fs::remove_all(name);
    fs::create_symlink(target, name);
  };
  if (what.ends_with("to a pipe")) REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  if (what == "entry") link(path, victim);
  if (what == "entry to a pipe") link(path, directory / "pipe");
  if (what == "entry to a device") link(path, "/dev/zero");
  if (what == "shard") link(fresh_shard, outside);
  if (what == "tmp") link(temporaries(), outside);
  if (what == "lock") link(lock, victim);
  if (what == "lock to a pipe") link(lock, directory / "pipe");
  if (what == "locks") link(root + "/v1/locks", outside);
  if (what == "stats") link(root + "/v1/stats", outside);

  const auto cache = open();
  CHECK(request.is(*cache->get(request.request(), compiler.of(request)).value));
  CHECK(fresh.is(*cache->get(fresh.request(), compiler.of(fresh)).value));
  cache->statistics().flush();
  CHECK(util::read_text_file(victim, 1000) == text);
  CHECK(fs::is_empty(outside));
}

TEST_CASE_METHOD(EntryFixture, "F15 a pipe in place of an entry or a lock does not hang", "[cache][fault]") {
  const FakeRequest fresh(15);
  fs::remove(path);
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  REQUIRE(::mkfifo((root + "/v1/locks/" + cache::lock_name(fresh.key)).c_str(), 0600) == 0);
  const auto cache = open();
  CHECK(request.is(*cache->get(request.request(), compiler.of(request)).value));
  CHECK(fresh.is(*cache->get(fresh.request(), compiler.of(fresh)).value));
}

TEST_CASE_METHOD(EntryFixture, "F15 shows without O_NOFOLLOW", "[cache][fault][guard]") {
  io.on_open = [&](int at, const char* name, int flags, mode_t mode) {
    return io.real.open(at, name, flags & ~O_NOFOLLOW, mode);
  };
  const std::string outside = directory / "outside";
  fs::create_directory(outside);
  fs::permissions(outside, fs::perms(0700));
  const FakeRequest fresh(15);
  fs::remove_all(temporaries());
  fs::create_symlink(outside, temporaries());
  fs::rename(path, directory / "elsewhere");
  fs::create_symlink(directory / "elsewhere", path);
  bool wrote_outside = false;
  io.on_rename = [&](int from_directory, const char* from, int to_directory, const char* to) {
    wrote_outside = !fs::is_empty(outside);
    return io.real.rename(from_directory, from, to_directory, to);
  };
  const auto cache = open();
  CHECK(cache->get(request.request(), compiler.of(request)).origin == Origin::disk);
  CHECK(compiler.calls == 0);
  cache->get(fresh.request(), compiler.of(fresh));
  CHECK(wrote_outside);
}

TEST_CASE_METHOD(EntryFixture, "F16 another user's file, a directory that everybody can write", "[cache][fault]") {
  const auto check_untrusted = [&](const std::string& reason) {
    const auto cache = open();
    CHECK(request.is(*cache->get(request.request(), compiler.of(request)).value));
    CHECK(compiler.calls == 1);
    CHECK(cache->statistics().counts()[cache::Counter::untrusted] > 0);
    REQUIRE_FALSE(warnings.empty());
    CHECK_THAT(warnings[0], Contains(reason));
  };
  SECTION("another user's entry") {
    struct stat entry {};
    REQUIRE(::stat(path.c_str(), &entry) == 0);
    io.on_fstat = [&](int fd, struct stat* status) {
      const int result = io.real.fstat(fd, status);
      if (status->st_ino == entry.st_ino) status->st_uid = 4242;
      return result;
    };
    check_untrusted("belongs to user 4242");
  }
  SECTION("a root that everybody can write") {
    REQUIRE(::chmod(root.c_str(), 0777) == 0);
    check_untrusted("can be written by others");
  }
  SECTION("a group's directory is used where that was asked for") {
    REQUIRE(::chmod(root.c_str(), 0775) == 0);
    REQUIRE(::chmod(path.c_str(), 0664) == 0);
    check_untrusted("can be written by others");
    cache::TiersOptions shared = options();
    shared.store.trust = cache::Trust::shared;
    warnings.clear();
    CHECK(open(shared)->get(request.request(), compiler.of(request)).origin == Origin::disk);
    CHECK(warnings.empty());
    const FakeRequest fresh(16);
    open(shared)->get(fresh.request(), compiler.of(fresh));
    struct stat made {};
    REQUIRE(::stat(path_of(fresh).c_str(), &made) == 0);
    CHECK((made.st_mode & 0777) == 0660);
    REQUIRE(::chmod(root.c_str(), 0777) == 0);
    CHECK(open(shared)->get(fresh.request(), compiler.of(fresh)).origin == Origin::compiled);
    CHECK_THAT(warnings.at(0), Contains("by everybody"));
  }
}

TEST_CASE_METHOD(EntryFixture, "F25 no file descriptor left", "[cache][fault]") {
  const int result = in_child([&] {
    const rlimit limit{3, 3};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    const auto cache = open();
    if (!request.is(*cache->get(request.request(), compiler.of(request)).value)) return 2;
    if (cache->statistics().counts()[cache::Counter::publish_failed] != 1) return 3;
    return cache->get(request.request(), compiler.of(request)).origin == Origin::memory ? 0 : 4;
  });
  CHECK(result == 0);
  CHECK(find().entry);
}
