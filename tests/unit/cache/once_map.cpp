#include "src/cache/once_map.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using librt::cache::OnceMap;

namespace {

constexpr int kThreads = 64;
using Map = OnceMap<int, std::shared_ptr<const int>>;

std::shared_ptr<const int> value_of(int value) {
  return std::make_shared<const int>(value);
}

template <class Body>
void in_threads(Body body) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([body, i] { body(i); });
}

}  // namespace

TEST_CASE("64 threads that want one key share one making", "[cache][once_map]") {
  Map map;
  std::barrier start(kThreads);
  std::atomic<int> makings{0};
  std::atomic<int> makers{0};
  std::vector<std::shared_ptr<const int>> values(kThreads);
  in_threads([&](int i) {
    start.arrive_and_wait();
    const auto result = map.get(7, [&] {
      ++makings;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      return value_of(42);
    });
    makers += result.made ? 1 : 0;
    values[static_cast<std::size_t>(i)] = result.value;
  });
  CHECK(makings == 1);
  CHECK(makers == 1);
  CHECK(*values[0] == 42);
  for (const auto& value : values) CHECK(value == values[0]);
  CHECK(map.size() == 1);
}

TEST_CASE("64 threads that want 64 keys do not wait for each other", "[cache][once_map]") {
  Map map;
  // Nobody passes before all are inside their making: if one waited for another, this would never end.
  std::barrier inside(kThreads);
  std::atomic<int> makings{0};
  in_threads([&](int i) {
    const auto result = map.get(i, [&] {
      inside.arrive_and_wait();
      ++makings;
      return value_of(i);
    });
    if (*result.value != i) makings = -1000;
  });
  CHECK(makings == kThreads);
  CHECK(map.size() == kThreads);
}

TEST_CASE("a key that is there is found while another is being made", "[cache][once_map]") {
  Map map;
  map.get(1, [] { return value_of(1); });
  const auto outer = map.get(2, [&] {
    const auto inner = map.get(1, [] { return value_of(-1); });
    CHECK_FALSE(inner.made);
    return inner.value;
  });
  CHECK(outer.made);
  CHECK(*outer.value == 1);
}

TEST_CASE("those who waited for a making that throws get its exception, the next one tries again",
          "[cache][once_map]") {
  Map map;
  std::atomic<int> makings{0};
  std::atomic<int> failures{0};
  std::atomic<int> others{0};
  std::barrier start(kThreads);
  in_threads([&](int) {
    start.arrive_and_wait();
    try {
      map.get(1, [&]() -> std::shared_ptr<const int> {
        ++makings;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        throw std::runtime_error("no such kernel");
      });
      ++others;
    } catch (const std::runtime_error& error) {
      if (std::string_view(error.what()) == "no such kernel") ++failures;
    }
  });
  CHECK(failures == kThreads);
  CHECK(others == 0);
  CHECK(makings < kThreads);  // they shared it
  CHECK(map.size() == 0);
  const auto result = map.get(1, [] { return value_of(5); });
  CHECK(result.made);
  CHECK(*result.value == 5);
}

TEST_CASE("a cleared map makes its values again", "[cache][once_map]") {
  Map map;
  const auto first = map.get(1, [] { return value_of(1); });
  CHECK_FALSE(map.get(1, [] { return value_of(2); }).made);
  map.clear();
  CHECK(map.size() == 0);
  const auto second = map.get(1, [] { return value_of(2); });
  CHECK(second.made);
  CHECK(*second.value == 2);
  CHECK(*first.value == 1);
}

TEST_CASE("what replaces a value is made once, and the value serves until then", "[cache][once_map]") {
  Map map;
  const auto stale = map.get(1, [] { return value_of(1); }).value;
  int makings = 0;
  std::vector<std::jthread> others;
  std::atomic<int> made_by_others{0};
  const auto replace = [&] {
    return map.replace(1, stale, [&] {
      ++makings;
      return value_of(2);
    });
  };
  const auto first = map.replace(1, stale, [&] {
    ++makings;
    // Whoever only asks neither waits nor makes.
    CHECK(map.get(1, [] { return value_of(0); }).value == stale);
    for (int i = 0; i < 4; ++i) {
      others.emplace_back([&] { made_by_others += replace().made ? 1 : 0; });
    }
    return value_of(2);
  });
  others.clear();  // joins
  CHECK(first.made);
  CHECK(*first.value == 2);
  CHECK(makings == 1);
  CHECK(made_by_others == 0);
  CHECK(map.find(1) == first.value);
  CHECK(map.size() == 1);
  // Who still holds the old one gets the new one.
  CHECK(map.replace(1, stale, [] { return value_of(3); }).value == first.value);
}

TEST_CASE("a replacement that fails leaves the value", "[cache][once_map]") {
  Map map;
  const auto stale = map.get(1, [] { return value_of(1); }).value;
  CHECK_THROWS_AS(map.replace(1, stale, []() -> std::shared_ptr<const int> { throw std::runtime_error("no"); }),
                  std::runtime_error);
  CHECK(map.find(1) == stale);
  CHECK(*map.replace(1, stale, [] { return value_of(2); }).value == 2);
}
