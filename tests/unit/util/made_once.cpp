#include "src/util/made_once.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <barrier>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/in_child.hpp"

using namespace librt;

TEST_CASE("threads that need a value first share one making", "[util][made_once]") {
  constexpr int kThreads = 8;
  util::MadeOnce<std::string> value;
  std::atomic<int> makings{0};
  std::atomic<int> right{0};
  std::barrier start(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        start.arrive_and_wait();
        const std::string& made = value.get([&] {
          ++makings;
          return std::string("made");
        });
        if (made == "made") ++right;
      });
    }
  }
  CHECK(makings == 1);
  CHECK(right == kThreads);
}

TEST_CASE("a making that throws leaves nothing behind", "[util][made_once]") {
  util::MadeOnce<int> value;
  CHECK_THROWS_AS(value.get([]() -> int { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK(value.get([] { return 7; }) == 7);
  CHECK(value.get([] { return 8; }) == 7);
}

TEST_CASE("a forked child keeps what was made and makes what another thread was making", "[util][made_once]") {
  if (!test::can_fork_with_threads()) return;
  util::MadeOnce<int> made;
  made.get([] { return 1; });
  util::MadeOnce<int> missing;
  std::promise<void> inside;
  std::promise<void> finish;
  std::jthread making([&] {
    missing.get([&] {
      inside.set_value();
      finish.get_future().wait();
      return 2;
    });
  });
  inside.get_future().wait();
  CHECK(test::in_child([&] {
          if (made.get([] { return 9; }) != 1) return "what was made was made again";
          return missing.get([] { return 3; }) == 3 ? "" : "not the child's own";
        }) == "");
  finish.set_value();
  making.join();
  CHECK(missing.get([] { return 4; }) == 2);
}
