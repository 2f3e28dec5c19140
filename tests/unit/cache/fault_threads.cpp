// The fault matrix, faults 10, 11 and 18: threads of one process, and its forked children.
#include <barrier>
#include <future>
#include <stdexcept>
#include <thread>

#include "tests/support/in_child.hpp"
#include "tests/unit/cache/fault_support.hpp"

using namespace librt;
using namespace librt::test;

namespace {

constexpr int kThreads = 64;

template <class Body>
void in_threads(const Body& body) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&body, i] { body(i); });
}

/// A compiler that fails while 64 threads wait for it. Returns whether a later call compiles.
bool compiles_after_failure(int& failures) {
  FaultFixture fixture;
  const FakeRequest request(11);
  const auto cache = fixture.open(fixture.options());
  std::atomic<int> errors{0};
  std::atomic<int> compiles{0};
  std::barrier start(kThreads);
  in_threads([&](int) {
    start.arrive_and_wait();
    try {
      cache->get(request.request(), [&]() -> cache::Entry {
        ++compiles;
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        throw std::runtime_error("line 3: expected a declaration");
      });
    } catch (const std::runtime_error& error) {
      if (std::string_view(error.what()) == "line 3: expected a declaration") ++errors;
    }
  });
  failures = errors;
  CHECK(compiles < kThreads);  // they did wait for each other
  FakeCompiler compiler;
  try {
    return request.is(*cache->get(request.request(), compiler.of(request)).value) && compiler.calls == 1;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

TEST_CASE("F10 64 threads, one key: one compile", "[cache][fault][threads]") {
  FaultFixture fixture;
  const FakeRequest request(10);
  const auto cache = fixture.open();
  FakeCompiler compiler{.duration = std::chrono::milliseconds(100)};
  std::barrier start(kThreads);
  std::atomic<int> right{0};
  in_threads([&](int) {
    start.arrive_and_wait();
    right += request.is(*cache->get(request.request(), compiler.of(request)).value) ? 1 : 0;
  });
  CHECK(right == kThreads);
  CHECK(compiler.calls == 1);
  CHECK(cache->statistics().counts()[cache::Counter::compiled] == 1);
  CHECK(cache->statistics().counts()[cache::Counter::memory_hits] == kThreads - 1);
}

TEST_CASE("F10 64 threads, 64 keys: 64 compiles, none waiting for another's", "[cache][fault][threads]") {
  FaultFixture fixture;
  const auto cache = fixture.open();
  // Nobody leaves a compile before all are inside theirs: if one waited for another, this would never end.
  std::barrier inside(kThreads);
  std::atomic<int> right{0};
  in_threads([&](int i) {
    const FakeRequest request(i);
    const auto got = cache->get(request.request(), [&] {
      inside.arrive_and_wait();
      return request.entry();
    });
    right += request.is(*got.value) ? 1 : 0;
  });
  CHECK(right == kThreads);
  CHECK(cache->statistics().counts()[cache::Counter::compiled] == kThreads);
  CHECK(fixture.files_in("objects") == kThreads);
}

TEST_CASE("F11 a compile that fails while others wait", "[cache][fault][threads]") {
  int failures = 0;
  CHECK(compiles_after_failure(failures));
  CHECK(failures == kThreads);
}

TEST_CASE("F11 a failure is not kept on disk either", "[cache][fault]") {
  FaultFixture fixture;
  const FakeRequest request(11);
  CHECK_THROWS(fixture.open()->get(request.request(), []() -> cache::Entry { throw std::runtime_error("no"); }));
  CHECK(fixture.files_in("objects") == 0);
  CHECK(fixture.totals()[cache::Counter::failed] == 1);
  FakeCompiler compiler;
  CHECK(request.is(*fixture.open()->get(request.request(), compiler.of(request)).value));
}

TEST_CASE("F18 fork while another thread compiles", "[cache][fault][processes]") {
  if (!can_fork_with_threads()) return;
  FaultFixture fixture;
  const FakeRequest request(18);
  const auto cache = fixture.open();
  std::promise<void> inside;
  std::promise<void> finish;
  std::jthread compiling([&] {
    cache->get(request.request(), [&] {
      inside.set_value();
      finish.get_future().wait();
      return request.entry();
    });
  });
  inside.get_future().wait();

  const FakeRequest other(19);
  const std::string waiting = fixture.directory / "waiting";
  const pid_t same_key = start_child([&] {
    fixture.io.on_sleep = [&](std::chrono::milliseconds duration) {
      put(waiting, {});
      fixture.io.real.sleep(duration);
    };
    FakeCompiler compiler;
    const auto got = cache->get(request.request(), compiler.of(request));
    // It waited for the lock that the parent's thread holds, and found what was published.
    return request.is(*got.value) && compiler.calls == 0 ? 0 : 1;
  });
  const pid_t other_key = start_child([&] {
    FakeCompiler compiler;
    const auto got = cache->get(other.request(), compiler.of(other));
    cache->statistics().flush();
    return other.is(*got.value) && compiler.calls == 1 ? 0 : 1;
  });
  CHECK(wait_for(other_key) == 0);
  REQUIRE(eventually([&] { return fs::exists(waiting); }));
  finish.set_value();
  compiling.join();
  CHECK(wait_for(same_key) == 0);
  cache->statistics().flush();
  CHECK(fixture.totals()[cache::Counter::compiled] == 2);  // no child counted what its parent did
}

TEST_CASE("F18 a child that inherited the lock's descriptor does not keep the lock", "[cache][fault][processes]") {
  FaultFixture fixture;
  const FakeRequest request(18);
  pid_t child = -1;
  fixture.open()->get(request.request(), [&] {
    child = start_child([] {
      while (true) ::pause();
      return 0;
    });
    return request.entry();
  });
  cache::Store store(fixture.root, fixture.log(), {});
  CHECK(store.lock(request.key, std::chrono::milliseconds(0)).lock);
  ::kill(child, SIGKILL);
  CHECK(wait_for(child) == 128 + SIGKILL);
}

TEST_CASE("F18 a child that ends inside its parent's compile does not release the lock", "[cache][fault][processes]") {
  FaultFixture fixture;
  const FakeRequest request(18);
  bool free = true;
  fixture.open()->get(request.request(), [&] {
    const int result = in_child([&] {
      cache::Store store(fixture.root, fixture.log(), {});
      auto held = store.lock(request.key, std::chrono::milliseconds(0));
      return held.lock ? 1 : 0;
    });
    CHECK(result == 0);
    cache::Store store(fixture.root, fixture.log(), {});
    free = store.lock(request.key, std::chrono::milliseconds(0)).lock.has_value();
    return request.entry();
  });
  CHECK_FALSE(free);
}

namespace {

/// A hash that stops, on demand, where the map's lock is held.
struct StoppingHash {
  static inline std::atomic<int> countdown{-1};
  static inline std::atomic<bool> stopped{false};
  static inline std::atomic<bool> go_on{false};
  std::size_t operator()(int key) const noexcept {
    if (countdown >= 0 && countdown-- == 0) {
      stopped = true;
      while (!go_on) std::this_thread::yield();
    }
    return static_cast<std::size_t>(key);
  }
};

}  // namespace

TEST_CASE("F18 fork while another thread holds the map's lock", "[cache][fault][processes]") {
  if (!can_fork_with_threads()) return;
  cache::OnceMap<int, std::shared_ptr<const int>, StoppingHash> map;
  const auto value_of = [](int value) { return std::make_shared<const int>(value); };
  map.get(1, [&] { return value_of(1); });
  StoppingHash::countdown = 1;  // the first is the look without a lock
  std::jthread holder([&] { map.get(2, [&] { return value_of(2); }); });
  REQUIRE(eventually([] { return StoppingHash::stopped.load(); }));
  const pid_t child = start_child([&] {
    if (map.get(1, [&] { return value_of(9); }).made) return 1;
    if (*map.get(2, [&] { return value_of(3); }).value != 3) return 2;
    if (*map.get(5, [&] { return value_of(5); }).value != 5) return 3;
    map.clear();
    return map.size() == 0 ? 0 : 4;
  });
  siginfo_t info{};
  const bool ended = eventually([&] {
    info.si_pid = 0;
    return ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
  });
  if (!ended) ::kill(child, SIGKILL);
  CHECK(wait_for(child) == 0);
  StoppingHash::go_on = true;
}
