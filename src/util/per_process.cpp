#include "src/util/per_process.hpp"

#include <pthread.h>

namespace librt::util {
namespace {

std::atomic<unsigned> generation{0};

// Before main, so that no fork is missed.
[[maybe_unused]] const int registered =
    ::pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1, std::memory_order_relaxed); });

}  // namespace

unsigned process_generation() noexcept {
  return generation.load(std::memory_order_relaxed);
}

}  // namespace librt::util
