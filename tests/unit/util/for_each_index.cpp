#include "src/util/for_each_index.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <stdexcept>

namespace librt::util {

TEST_CASE("Every index is taken once, by however many threads", "[util]") {
  const std::size_t threads = GENERATE(0U, 1U, 2U, 8U, 100U);
  std::vector<std::atomic<int>> taken(50);
  for_each_index(taken.size(), threads, [&](std::size_t i) { ++taken[i]; });
  CHECK(std::ranges::all_of(taken, [](const std::atomic<int>& times) { return times == 1; }));
  for_each_index(0, threads, [](std::size_t) { FAIL("there is no index"); });
}

TEST_CASE("The first exception ends the loop and is passed on", "[util]") {
  const std::size_t threads = GENERATE(1U, 4U);
  std::atomic<int> begun{0};
  const auto work = [&](std::size_t i) {
    ++begun;
    if (i == 2) throw std::runtime_error("index 2");
    if (i > 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the thrower is not to be overtaken
  };
  CHECK_THROWS_WITH(for_each_index(100'000, threads, work), "index 2");
  CHECK(begun < 100'000);
}

}  // namespace librt::util
