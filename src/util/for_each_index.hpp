// A loop whose rounds several threads take in turn.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace librt::util {

/// Calls `work(0)` .. `work(count - 1)` on the calling thread and up to `threads` - 1 more (0 = one for each core), and
/// waits for them. The first exception leaves out the rounds that have not begun, and is passed on.
template <class Work>
void for_each_index(std::size_t count, std::size_t threads, const Work& work) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto take_turns = [&] {
    try {
      for (std::size_t i = next++; i < count; i = next++) work(i);
    } catch (...) {
      next = count;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    try {
      while (helpers.size() + 1 < std::min(count, threads)) helpers.emplace_back(take_turns);
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): with no more threads, it only takes longer
    }
    take_turns();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace librt::util
