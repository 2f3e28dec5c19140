// The fault matrix, faults 2, 8, 9, 14 and 24: several processes on one directory, some of them killed or stopped.
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <random>

#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using namespace librt::test;

namespace {

struct Usage {
  std::string variant = "locks";
  int compile_ms = 0;
  std::uint64_t max_bytes = 0;
  int first = 0;
  int count = 1;
  int rounds = 1;
};

/// Processes of cache_user that begin together.
class Users {
 public:
  explicit Users(FaultFixture& fixture) : fixture_(fixture) {}

  void start(const Usage& usage) {
    const std::string output = fixture_.directory / ("output" + std::to_string(children_.size()));
    std::vector<std::string> words{LIBRT_CACHE_USER,
                                   fixture_.root,
                                   std::to_string(usage.compile_ms),
                                   usage.variant,
                                   std::to_string(usage.max_bytes),
                                   std::to_string(usage.first),
                                   std::to_string(usage.count),
                                   std::to_string(usage.rounds)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    REQUIRE(::posix_spawn_file_actions_init(&actions) == 0);
    ::posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t child = -1;
    const int error = ::posix_spawn(&child, LIBRT_CACHE_USER, &actions, nullptr, arguments.data(), ::environ);
    ::posix_spawn_file_actions_destroy(&actions);
    REQUIRE(error == 0);
    children_.push_back(child);
    outputs_.push_back(output);
  }

  void go() { put(fixture_.root + ".go", {}); }

  /// Waits for all. Each has to have got the right bytes each time. Returns the number of compiles.
  int finish() {
    int compiles = 0;
    for (std::size_t i = 0; i < children_.size(); ++i) {
      CHECK(wait_for(children_[i]) == 0);
      int of_this_one = 0;
      std::ifstream(outputs_[i]) >> of_this_one;
      compiles += of_this_one;
    }
    return compiles;
  }

 private:
  FaultFixture& fixture_;
  std::vector<pid_t> children_;
  std::vector<std::string> outputs_;
};

/// 8 cold processes that want one key.
int compiles_of_eight(FaultFixture& fixture, const std::string& variant) {
  Users users(fixture);
  for (int i = 0; i < 8; ++i) users.start({.variant = variant, .compile_ms = 300});
  users.go();
  return users.finish();
}

/// A child inside its compile, so that it holds the lock.
pid_t start_compiling(FaultFixture& fixture, const FakeRequest& request) {
  const std::string inside = fixture.directory / "inside";
  const pid_t child = start_child([&] {
    fixture.open()->get(request.request(), [&]() -> cache::Entry {
      put(inside, {});
      while (true) ::pause();
    });
    return 0;
  });
  REQUIRE(eventually([&] { return fs::exists(inside); }));
  return child;
}

}  // namespace

TEST_CASE("F02 kill -9 holding the lock", "[cache][fault][processes]") {
  FaultFixture fixture;
  const FakeRequest request(2);
  const pid_t holder = start_compiling(fixture, request);
  const std::string done = fixture.directory / "done";
  const std::string waiting = fixture.directory / "waiting";
  fixture.io.on_sleep = [&](std::chrono::milliseconds duration) {
    put(waiting, {});
    fixture.io.real.sleep(duration);
  };
  const pid_t waiter = start_child([&] {
    FakeCompiler compiler;
    const auto got = fixture.open()->get(request.request(), compiler.of(request));
    put(done, {});
    return request.is(*got.value) && compiler.calls == 1 ? 0 : 1;
  });
  REQUIRE(eventually([&] { return fs::exists(waiting); }));
  CHECK_FALSE(fs::exists(done));
  ::kill(holder, SIGKILL);
  CHECK(wait_for(holder) == 128 + SIGKILL);
  CHECK(wait_for(waiter) == 0);
  CHECK(fixture.totals()[cache::Counter::lock_waits] == 1);
  CHECK(fixture.totals()[cache::Counter::lock_degraded] == 0);  // it got the lock, and did not give it up
}

TEST_CASE("F08 8 cold processes, one key", "[cache][fault][processes]") {
  FaultFixture fixture;
  CHECK(compiles_of_eight(fixture, "locks") == 1);
  const cache::Counts totals = fixture.totals();
  CHECK(totals[cache::Counter::compiled] == 1);
  CHECK(totals[cache::Counter::disk_hits] == 7);
  CHECK(totals.lookups() == 8);
  CHECK(totals[cache::Counter::failed] + totals[cache::Counter::publish_failed] == 0);
  CHECK(fixture.files_in("objects") == 1);
}

TEST_CASE("F08 shows without the lock", "[cache][fault][guard][processes]") {
  FaultFixture fixture;
  CHECK(compiles_of_eight(fixture, "pretend") > 1);
}

TEST_CASE("F09 8 cold processes on a file system without locks", "[cache][fault][processes]") {
  FaultFixture fixture;
  const int compiles = compiles_of_eight(fixture, "no locks");
  CHECK(compiles >= 1);
  CHECK(compiles <= 8);
  const auto files = fixture.scan();
  REQUIRE(files.size() == 1);
  CHECK(files[0].finding == cache::Finding::ok);
  CHECK(fixture.files_in("tmp") == 0);
}

TEST_CASE("F14 eviction while others load", "[cache][fault][processes]") {
  FaultFixture fixture;
  const std::uint64_t entry = cache::encode_entry(FakeRequest(0).key, FakeRequest(0).entry()).size();
  constexpr std::uint64_t kEntries = 5;
  constexpr std::uint64_t kLoaders = 4;
  const std::uint64_t bound = kEntries * entry;
  Users users(fixture);
  // Each goes round 8 keys, half of them its neighbour's: more than fit.
  for (int i = 0; i < static_cast<int>(kLoaders); ++i) {
    users.start({.compile_ms = 1, .max_bytes = bound, .first = 4 * i, .count = 8, .rounds = 40});
  }
  users.go();
  std::atomic<bool> stop{false};
  std::uint64_t largest = 0;
  std::jthread collector([&] {
    cache::Store store(fixture.root, fixture.log(), {});
    while (!stop) {
      store.collect({.max_bytes = bound});
      // A look at a directory that changes is no snapshot: files counted may be gone, so only the dry run's sum of what
      // was there one by one can exceed; two looks that agree are taken as one.
      const auto first = store.collect({.max_bytes = 0, .dry_run = true});
      const auto second = store.collect({.max_bytes = 0, .dry_run = true});
      largest = std::max(largest, std::min(first.bytes, second.bytes));
    }
  });
  users.finish();
  stop = true;
  collector.join();
  CHECK(largest > 0);
  CHECK(largest <= bound + kLoaders * entry);
  const auto files = fixture.scan();
  CHECK(files.size() <= kEntries + kLoaders);
  for (const cache::StoredFile& file : files) CHECK(file.finding == cache::Finding::ok);
  CHECK(fixture.totals()[cache::Counter::evicted] > 0);
  CHECK(fixture.totals()[cache::Counter::publish_failed] == 0);
}

TEST_CASE("F24 the holder of the lock is stopped", "[cache][fault][processes]") {
  FaultFixture fixture;
  const FakeRequest request(24);
  const pid_t holder = start_compiling(fixture, request);
  ::kill(holder, SIGSTOP);
  cache::TiersOptions options = fixture.options();
  options.lock_timeout = std::chrono::milliseconds(200);
  std::chrono::milliseconds slept{0};
  fixture.io.on_sleep = [&](std::chrono::milliseconds duration) { slept += duration; };
  FakeCompiler compiler;
  const auto cache = fixture.open(options);
  CHECK(request.is(*cache->get(request.request(), compiler.of(request)).value));
  CHECK(compiler.calls == 1);
  CHECK(slept == options.lock_timeout);
  CHECK(cache->statistics().counts()[cache::Counter::lock_degraded] == 1);
  ::kill(holder, SIGKILL);
  CHECK(wait_for(holder) == 128 + SIGKILL);
  CHECK(fixture.open()->get(request.request(), compiler.of(request)).origin == Origin::disk);
}

TEST_CASE("F24 a signal while waiting", "[cache][fault][processes]") {
  FaultFixture fixture;
  const FakeRequest request(24);
  const pid_t holder = start_compiling(fixture, request);
  const std::string waiting = fixture.directory / "waiting";
  fixture.io.on_sleep = [&](std::chrono::milliseconds duration) {
    put(waiting, {});
    fixture.io.real.sleep(duration);
  };
  const auto start_waiter = [&](void (*on_signal)(int)) {
    fs::remove(waiting);
    const pid_t waiter = start_child([&] {
      ::signal(SIGINT, on_signal);
      FakeCompiler compiler;
      const auto got = fixture.open()->get(request.request(), compiler.of(request));
      return request.is(*got.value) ? 0 : 1;
    });
    REQUIRE(eventually([&] { return fs::exists(waiting); }));
    return waiter;
  };
  const pid_t ended = start_waiter(SIG_DFL);
  ::kill(ended, SIGINT);
  CHECK(wait_for(ended) == 128 + SIGINT);  // a wait is no reason not to end

  static std::string signalled;  // where the handler finds it
  signalled = fixture.directory / "signalled";
  const pid_t handled = start_waiter([](int) { ::mkdir(signalled.c_str(), 0700); });
  ::kill(handled, SIGINT);
  REQUIRE(eventually([&] { return fs::exists(signalled); }));
  ::kill(holder, SIGKILL);
  CHECK(wait_for(holder) == 128 + SIGKILL);
  CHECK(wait_for(handled) == 0);
}

TEST_CASE("kill -9 at random moments, 200 times, while four others read", "[cache][fault][processes]") {
  FaultFixture fixture;
  constexpr int kKeys = 6;
  const std::string stop = fixture.directory / "stop";
  std::vector<pid_t> readers;
  for (int reader = 0; reader < 4; ++reader) {
    readers.push_back(start_child([&] {
      while (!fs::exists(stop)) {
        const auto cache = fixture.open();
        FakeCompiler compiler;
        for (int number = 0; number < kKeys; ++number) {
          const FakeRequest request(number);
          if (!request.is(*cache->get(request.request(), compiler.of(request)).value)) return 1;
        }
        ::usleep(2000);
      }
      return fixture.warnings.empty() ? 0 : 2;
    }));
  }
  std::mt19937 random(9);
  for (int round = 0; round < 200; ++round) {
    const pid_t child = start_child([&] {
      const std::uint64_t entry = FakeRequest(0).bytes;
      cache::TiersOptions options = fixture.options();
      options.store.max_bytes = 3 * entry;  // so that the others compile again and again
      while (true) {
        const auto cache = fixture.open(options);
        FakeCompiler compiler;
        for (int number = 0; number < kKeys; ++number) {
          const FakeRequest request(number);
          cache->get(request.request(), compiler.of(request));
        }
      }
      return 0;
    });
    ::usleep(static_cast<useconds_t>(1000 + random() % 20000));
    ::kill(child, SIGKILL);
    CHECK(wait_for(child) == 128 + SIGKILL);
  }
  put(stop, {});
  for (const pid_t reader : readers) CHECK(wait_for(reader) == 0);

  cache::Store store(fixture.root, fixture.log(), {});
  const auto collected = store.collect({.lock_timeout = std::chrono::seconds(1)});
  CHECK(collected.done);
  for (const cache::StoredFile& file : store.scan()) CHECK(file.finding == cache::Finding::ok);
  for (int number = 0; number < kKeys; ++number) {
    const FakeRequest request(number);
    FakeCompiler compiler;
    CHECK(request.is(*fixture.open()->get(request.request(), compiler.of(request)).value));
  }
}
