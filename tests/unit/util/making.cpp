#include "src/util/making.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <barrier>
#include <string>
#include <thread>

#include "src/cache/once_map.hpp"
#include "src/util/made_once.hpp"

namespace librt {
namespace {

using util::WaitsForItself;

TEST_CASE("A making that asks for itself is told so, and the next one works", "[util][making]") {
  util::MadeOnce<int> once;
  CHECK_THROWS_AS(once.get([&] { return once.get([] { return 1; }); }), WaitsForItself);
  CHECK(once.get([] { return 2; }) == 2);

  cache::OnceMap<int, int> map;
  CHECK_THROWS_AS(map.get(1, [&] { return map.get(1, [] { return 1; }).value; }), WaitsForItself);
  CHECK(map.get(1, [] { return 2; }).value == 2);
  CHECK(map.get(3, [&] { return map.get(4, [] { return 4; }).value; }).value == 4);
}

TEST_CASE("Threads that wait for each other in a circle do not wait for ever, also over several maps",
          "[util][making]") {
  cache::OnceMap<int, int> map;
  util::MadeOnce<int> once;
  std::barrier both_make(2);
  std::atomic<int> told{0};
  const auto ask = [&](auto&& call) {
    try {
      call();
    } catch (const WaitsForItself&) {
      ++told;
    }
  };
  {
    const std::jthread other([&] {
      ask([&] {
        once.get([&] {
          both_make.arrive_and_wait();
          return map.get(1, [] { return 10; }).value;
        });
      });
    });
    ask([&] {
      map.get(1, [&] {
        both_make.arrive_and_wait();
        return once.get([] { return 20; });
      });
    });
  }
  CHECK(told >= 1);
  // What either of them did not make can be made now.
  CHECK(map.get(1, [] { return 1; }).value > 0);
  CHECK(once.get([] { return 2; }) > 0);
}

TEST_CASE("Waiting for a thread that is done with what one waits for is no circle", "[util][making]") {
  cache::OnceMap<int, int> map;
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> wrong{0};
    std::barrier start(2);
    const auto work = [&](int first, int second) {
      start.arrive_and_wait();
      try {
        map.get(first, [] { return 0; });
        map.get(second, [] { return 0; });
      } catch (const WaitsForItself&) {
        ++wrong;
      }
    };
    {
      const std::jthread other([&] { work(1, 2); });
      work(2, 1);
    }
    map.clear();
    REQUIRE(wrong == 0);
  }
}

}  // namespace
}  // namespace librt
