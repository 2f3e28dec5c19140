// The fault matrix, faults 1, 3 and 17: writing an entry. Each test of a guard shows, too, that the fault is there
// without it.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <cerrno>

#include "src/util/files.hpp"
#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using namespace librt::test;

namespace {

bool is_temporary(const char* name) {
  return cache::is_temporary_name(name);
}

/// A process killed after it wrote `bytes` of an entry, or before `stage`. True if anything stands at the entry's name.
bool killed_write_shows(FaultFixture& fixture, const FakeRequest& request, const std::string& stage,
                        std::size_t bytes) {
  auto& io = fixture.io;
  const int result = in_child([&] {
    const auto die = [] {
      ::kill(::getpid(), SIGKILL);
      return -1;
    };
    if (stage == "write") {
      io.on_write = [&, die](int fd, const void* from, std::size_t size) -> ssize_t {
        if (size < request.bytes) return io.real.write(fd, from, size);  // not the entry
        if (bytes > 0) io.real.write(fd, from, bytes);
        return die();
      };
    }
    if (stage == "fsync") io.on_fsync = [die](int) { return die(); };
    if (stage == "rename") io.on_rename = [die](int, const char*, int, const char*) { return die(); };
    cache::TiersOptions options = fixture.options();
    options.store.fsync = true;
    FakeCompiler compiler;
    fixture.open(options)->get(request.request(), compiler.of(request));
    return 0;
  });
  CHECK(result == 128 + SIGKILL);
  return fs::exists(fixture.path_of(request));
}

/// Removes the guard: the entry is written where it is to stand.
void write_in_place(IoHooks& io, const std::string& path) {
  io.on_open = [&io, path](int directory, const char* name, int flags, mode_t mode) {
    if ((flags & O_CREAT) == 0 || !is_temporary(name)) return io.real.open(directory, name, flags, mode);
    fs::create_directories(fs::path(path).parent_path());
    fs::permissions(fs::path(path).parent_path(), fs::perms(0700));
    return io.real.open(AT_FDCWD, path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  };
}

}  // namespace

TEST_CASE("F01 kill -9 mid-write", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  const std::size_t size = cache::encode_entry(request.key, request.entry()).size();
  std::size_t left = 0;
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, size / 2, size - 1}) {
    CHECK_FALSE(killed_write_shows(fixture, request, "write", bytes));
    CHECK(fixture.files_in("tmp") == ++left);
  }
  for (const char* const stage : {"fsync", "rename"}) {
    CHECK_FALSE(killed_write_shows(fixture, request, stage, 0));
    CHECK(fixture.files_in("tmp") == ++left);
  }
  CHECK(fixture.scan().empty());

  FakeCompiler compiler;
  const auto got = fixture.open()->get(request.request(), compiler.of(request));
  CHECK(compiler.calls == 1);
  CHECK(request.is(*got.value));
  CHECK(fixture.files_in("tmp") == left);  // they may still be in use

  // The file system's clock an hour later.
  fixture.io.on_fstat = [&](int fd, struct stat* status) {
    const int result = fixture.io.real.fstat(fd, status);
    status->st_mtim.tv_sec += 3700;
    return result;
  };
  const auto collected = cache::Store(fixture.root, fixture.log(), {}, {.io = &fixture.io}).collect({});
  CHECK(collected.removed_temporaries == left);
  CHECK(collected.removed_entries == 0);
  CHECK(fixture.files_in("tmp") == 0);
}

TEST_CASE("F01 shows without the temporary file and the rename", "[cache][fault][guard]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  write_in_place(fixture.io, fixture.path_of(request));
  CHECK(killed_write_shows(fixture, request, "write", 1000));
  REQUIRE(fixture.scan().size() == 1);
  CHECK(fixture.scan()[0].finding == cache::Finding::corrupt);
}

TEST_CASE("F01 an entry gets its name after it is synced, and is synced after it is written", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  std::string order;
  auto& io = fixture.io;
  io.on_write = [&](int fd, const void* from, std::size_t bytes) {
    if (bytes > request.bytes) order += 'w';
    return io.real.write(fd, from, bytes);
  };
  io.on_fsync = [&](int fd) {
    order += 's';
    return io.real.fsync(fd);
  };
  io.on_rename = [&](int from_directory, const char* from, int to_directory, const char* to) {
    order += 'r';
    return io.real.rename(from_directory, from, to_directory, to);
  };
  cache::TiersOptions options = fixture.options();
  options.store.fsync = true;
  FakeCompiler compiler;
  fixture.open(options)->get(request.request(), compiler.of(request));
  CHECK(order == "wsr");
}

TEST_CASE("F03 disk full", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(3);
  auto& io = fixture.io;
  const std::string fault = GENERATE(values<std::string>({"ENOSPC", "EDQUOT", "short, then ENOSPC", "EIO at fsync"}));
  CAPTURE(fault);
  const auto fail_late = [&](int error, std::size_t let_through) {
    return [&, error, let_through](int fd, const void* from, std::size_t bytes) -> ssize_t {
      if (bytes > request.bytes && let_through > 0) return io.real.write(fd, from, let_through);
      return fail_with(error);
    };
  };
  if (fault == "ENOSPC") io.on_write = fail_late(ENOSPC, 0);
  if (fault == "EDQUOT") io.on_write = fail_late(EDQUOT, 0);
  if (fault == "short, then ENOSPC") io.on_write = fail_late(ENOSPC, 12000);
  if (fault == "EIO at fsync") io.on_fsync = [](int) { return fail_with(EIO); };
  cache::TiersOptions options = fixture.options();
  options.store.fsync = true;
  FakeCompiler compiler;
  const auto cache = fixture.open(options);
  CHECK(request.is(*cache->get(request.request(), compiler.of(request)).value));
  CHECK(cache->statistics().counts()[cache::Counter::publish_failed] == 1);
  CHECK(fixture.files_in("tmp") == 0);
  CHECK(fixture.files_in("objects") == 0);
  REQUIRE(fixture.warnings.size() == 1);
  // Kept in memory; and the disk is tried again by the next process.
  CHECK(cache->get(request.request(), compiler.of(request)).origin == Origin::memory);
  io.on_write = nullptr;
  io.on_fsync = nullptr;
  fixture.open()->get(request.request(), compiler.of(request));
  CHECK(fixture.open()->get(request.request(), compiler.of(request)).origin == Origin::disk);
}

TEST_CASE("F03 a full tmpfs", "[cache][fault]") {
  FaultFixture fixture;
  fs::create_directory(fixture.root);
  if (::mount("tmpfs", fixture.root.c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0) {
    WARN("no tmpfs can be mounted here: the hooks of the test before stand for it");
    return;
  }
  {
    FakeCompiler compiler;
    const auto cache = fixture.open();
    for (int number = 0; number < 8; ++number) {
      const FakeRequest request(number, 300000);
      CHECK(request.is(*cache->get(request.request(), compiler.of(request)).value));
    }
    CHECK(cache->statistics().counts()[cache::Counter::publish_failed] > 0);
    CHECK(fixture.files_in("tmp") == 0);
    for (const cache::StoredFile& file : fixture.scan()) CHECK(file.finding == cache::Finding::ok);
  }
  CHECK(::umount(fixture.root.c_str()) == 0);
}

TEST_CASE("F03 a disk that is full is collected once, and writing tried once more", "[cache][fault]") {
  FaultFixture fixture;
  FakeCompiler compiler;
  for (int number = 0; number < 5; ++number) {
    const FakeRequest request(number);
    fixture.open()->get(request.request(), compiler.of(request));
  }
  const auto bytes = [&] {
    std::uintmax_t sum = 0;
    for (const auto& item : fs::recursive_directory_iterator(fixture.root + "/v1/objects")) {
      if (item.is_regular_file()) sum += item.file_size();
    }
    return sum;
  };
  const std::uintmax_t disk = bytes();
  int attempts = 0;
  fixture.io.on_write = [&](int fd, const void* from, std::size_t size) -> ssize_t {
    if (size < 20000) return fixture.io.real.write(fd, from, size);
    ++attempts;
    return bytes() + size > disk ? fail_with(ENOSPC) : fixture.io.real.write(fd, from, size);
  };
  cache::TiersOptions options = fixture.options();
  // Other settings were above the bound; or it holds, and no byte would go if it alone had to.
  options.store.max_bytes = GENERATE(true, false) ? disk * 2 / 3 : disk;
  const FakeRequest next(7);
  {
    const auto cache = fixture.open(options);
    cache->get(next.request(), compiler.of(next));
    CHECK(attempts == 2);
    CHECK(cache->statistics().counts()[cache::Counter::publish_failed] == 0);
    CHECK(cache->statistics().counts()[cache::Counter::evicted] == 6 - fixture.files_in("objects"));
  }
  CHECK(fixture.warnings.empty());
  CHECK(bytes() <= options.store.max_bytes);
  CHECK(fixture.open()->get(next.request(), compiler.of(next)).origin == Origin::disk);

  // Where that makes no room, it is not tried for ever.
  attempts = 0;
  fixture.io.on_write = [&](int fd, const void* from, std::size_t size) -> ssize_t {
    if (size < 20000) return fixture.io.real.write(fd, from, size);
    ++attempts;
    return fail_with(EDQUOT);
  };
  const FakeRequest last(8);
  CHECK(last.is(*fixture.open(options)->get(last.request(), compiler.of(last)).value));
  CHECK(attempts == 2);
  CHECK(fixture.warnings.size() == 1);
}

TEST_CASE("an entry that is removed to keep the bound is counted once", "[cache][fault][statistics]") {
  FaultFixture fixture;
  FakeCompiler compiler;
  cache::TiersOptions options = fixture.options();
  options.store.max_bytes = 50000;  // two
  const auto cache = fixture.open(options);
  std::uint64_t published = 0;
  const auto get = [&](int number) {
    const FakeRequest request(number);
    cache->get(request.request(), compiler.of(request));
    ++published;
  };
  for (int number = 0; number < 3; ++number) get(number);
  // Another thread publishes, and removes, in the middle of a publish.
  fixture.io.on_rename = [&](int from_directory, const char* from, int to_directory, const char* to) {
    fixture.io.on_rename = nullptr;
    get(100);
    return fixture.io.real.rename(from_directory, from, to_directory, to);
  };
  get(3);
  CHECK(cache->statistics().counts()[cache::Counter::evicted] == published - fixture.files_in("objects"));
}

TEST_CASE("a directory that is made has the rights that it should have, whatever the umask", "[cache][fault]") {
  const mode_t mask = GENERATE(mode_t{0177}, mode_t{0277}, mode_t{0777}, mode_t{0});
  const bool shared = GENERATE(false, true);
  CAPTURE(mask, shared);
  FaultFixture fixture;
  fixture.root = fixture.directory / "made/on/the/way";
  REQUIRE(::chmod(fixture.directory.path().c_str(), 0777) == 0);
  const FakeRequest request(1);
  const auto origin = [&](mode_t mask_of_it) {
    return in_child([&] {
      // Root may enter whatever there is.
      if (::geteuid() == 0 && (::setgid(4001) != 0 || ::setuid(4001) != 0)) return 98;
      ::umask(mask_of_it);
      cache::TiersOptions options = fixture.options();
      options.store.trust = shared ? cache::Trust::shared : cache::Trust::own;
      FakeCompiler compiler;
      const auto cache = fixture.open(options);
      const Origin got = cache->get(request.request(), compiler.of(request)).origin;
      cache->statistics().flush();
      return fixture.warnings.empty() ? static_cast<int>(got) : 97;
    });
  };
  CHECK(origin(mask) == static_cast<int>(Origin::compiled));
  CHECK(origin(022) == static_cast<int>(Origin::disk));
  std::size_t directories = 0;
  for (const auto& item : fs::recursive_directory_iterator(fixture.directory / "made")) {
    CAPTURE(item.path());
    struct stat status {};
    REQUIRE(::stat(item.path().c_str(), &status) == 0);
    const bool below = item.path().string().size() >= fixture.root.size();
    directories += item.is_directory();
    CHECK((status.st_mode & 0777) == (item.is_directory() ? (shared && below ? 0770 : 0700) : (shared ? 0660 : 0600)));
  }
  // on, the, way; v1, objects and programs with a shard each, tmp, locks, stats
  CHECK(directories == 11);
}

TEST_CASE("a new cache is marked as one, whichever of its directories comes first", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(1);
  FakeCompiler compiler;
  fixture.open()->get(request.request(), compiler.of(request));  // the lock's
  CHECK(util::read_text_file(fixture.root + "/CACHEDIR.TAG", 1000)
            .starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
  // What a user removes stays away.
  fs::remove(fixture.root + "/CACHEDIR.TAG");
  const FakeRequest next(2);
  fixture.open()->get(next.request(), compiler.of(next));
  CHECK_FALSE(fs::exists(fixture.root + "/CACHEDIR.TAG"));
}

TEST_CASE("what a read-only file system keeps from being removed is said", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(1), damaged(2);
  FakeCompiler compiler;
  for (const FakeRequest* each : {&request, &damaged}) fixture.open()->get(each->request(), compiler.of(*each));
  put(fixture.path_of(damaged), {});
  fixture.io.on_unlink = [](int, const char*) { return fail_with(EROFS); };
  cache::Store store(fixture.root, fixture.log(), {}, {.io = &fixture.io});
  const auto says_so = [&](const std::string& problem) {
    CHECK_THAT(problem, Catch::Contains("cannot remove " + fixture.root) && Catch::Contains("Read-only file system"));
  };
  says_so(store.clear().problem);
  CHECK(store.clear().entries == 0);
  says_so(store.repair().problem);
  const cache::Collected collected = store.collect({.max_bytes = 1});
  CHECK(collected.done);
  CHECK(collected.removed_entries == 0);
  says_so(collected.problem);
  CHECK(store.collect({.max_bytes = 0}).problem.empty());  // nothing has to go
  fixture.io.on_unlink = nullptr;
  CHECK(store.repair().entries == 1);
  CHECK(store.clear().problem.empty());
}

TEST_CASE("F03 a file size limit", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(3);
  const rlim_t limit = GENERATE(rlim_t{0}, rlim_t{1000}, rlim_t{15000});
  CHECK(in_child([&] {
          ::signal(SIGXFSZ, SIG_DFL);
          const rlimit files{limit, limit};
          if (::setrlimit(RLIMIT_FSIZE, &files) != 0) return 1;
          FakeCompiler compiler;
          const auto cache = fixture.open();
          if (!request.is(*cache->get(request.request(), compiler.of(request)).value)) return 2;
          if (cache->statistics().counts()[cache::Counter::publish_failed] != 1) return 3;
          if (fixture.warnings.size() != 1 || fixture.warnings[0].find("File too large") == std::string::npos) return 4;
          return 0;
        }) == 0);
  CHECK(fixture.files_in("tmp") == 0);
  CHECK(fixture.files_in("objects") == 0);
}

TEST_CASE("F03 shows without the check of what was written", "[cache][fault][guard]") {
  FaultFixture fixture;
  const FakeRequest request(3);
  fixture.io.on_write = [&](int fd, const void* from, std::size_t bytes) -> ssize_t {
    if (bytes < request.bytes) return fixture.io.real.write(fd, from, bytes);
    fixture.io.real.write(fd, from, bytes / 2);
    return static_cast<ssize_t>(bytes);  // as if nobody had looked
  };
  FakeCompiler compiler;
  const auto cache = fixture.open();
  cache->get(request.request(), compiler.of(request));
  CHECK(cache->statistics().counts()[cache::Counter::publish_failed] == 0);
  REQUIRE(fixture.scan().size() == 1);
  CHECK(fixture.scan()[0].finding == cache::Finding::corrupt);
}

TEST_CASE("F17 a network file system that shows an entry late", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(17);
  FakeCompiler compiler;
  fixture.open()->get(request.request(), compiler.of(request));  // another machine's
  REQUIRE(compiler.calls == 1);

  int hidden = 3;
  auto& io = fixture.io;
  const std::string name = cache::entry_name(request.key).file;
  io.on_open = [&](int directory, const char* what, int flags, mode_t mode) {
    if (what == name && hidden > 0) {
      --hidden;
      return fail_with(hidden == 1 ? ESTALE : ENOENT);
    }
    return io.real.open(directory, what, flags, mode);
  };
  const auto cache = fixture.open();
  const auto got = cache->get(request.request(), compiler.of(request));
  CHECK(compiler.calls == 2);  // a compile too many, and no more
  CHECK(got.origin == Origin::compiled);
  CHECK(request.is(*got.value));
  CHECK(fixture.warnings.empty());
}

TEST_CASE("F17 a rename that fails for the slower of two", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(17);
  const int error = GENERATE(ESTALE, EEXIST, EBUSY);
  FakeCompiler compiler;
  fixture.io.on_rename = [error](int, const char*, int, const char*) { return fail_with(error); };
  const auto cache = fixture.open();
  const auto got = cache->get(request.request(), compiler.of(request));
  CHECK(request.is(*got.value));
  CHECK(fixture.files_in("tmp") == 0);
  CHECK(cache->statistics().counts()[cache::Counter::publish_failed] == 1);
}
