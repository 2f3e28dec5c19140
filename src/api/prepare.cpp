// Runtime::prepare: get() of many specs, on several threads.
#include <librt/runtime.hpp>

#include <algorithm>
#include <atomic>
#include <exception>
#include <optional>
#include <system_error>
#include <thread>

namespace librt {
namespace {

/// Calls work(0) .. work(count - 1) on the calling thread and up to `threads` - 1 more.
template <class Work>
void for_each_index(std::size_t count, std::size_t threads, const Work& work) {
  std::atomic<std::size_t> next{0};
  const auto take_turns = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> helpers;
  try {
    while (helpers.size() + 1 < std::min(count, threads)) helpers.emplace_back(take_turns);
  } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): with no more threads, it only takes longer
  }
  take_turns();
}

}  // namespace

Kernel Runtime::prepare(const Spec& spec) {
  return get(spec);
}

std::vector<Kernel> Runtime::prepare(std::span<const Spec> specs, unsigned threads) {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::optional<Kernel>> made(specs.size());
  std::vector<std::exception_ptr> failures(specs.size());
  for_each_index(specs.size(), threads, [&](std::size_t i) {
    try {
      made[i] = get(specs[i]);
    } catch (...) {
      failures[i] = std::current_exception();
    }
  });
  std::vector<Kernel> kernels;
  kernels.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (failures[i]) std::rethrow_exception(failures[i]);
    kernels.push_back(std::move(*made[i]));
  }
  return kernels;
}

}  // namespace librt
