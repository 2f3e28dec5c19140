#include "tests/runtime/limits/failing.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* old, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
}

namespace {

std::atomic<long> failing{0};
std::atomic<long> seen{0};
std::atomic<int> threads_left{-1};
std::atomic<int> threads_refused{0};

bool fails() noexcept {
  const long nth = failing.load(std::memory_order_relaxed);
  if (nth == 0 || seen.fetch_add(1) + 1 != nth) return false;
  errno = ENOMEM;
  return true;
}

}  // namespace

namespace librt::test {

void fail_allocation(long nth) noexcept {
  seen = 0;
  failing = nth;
}
long allocations() noexcept {
  return seen;
}

void allow_threads(int count) noexcept {
  threads_refused = 0;
  threads_left = count;
}
int refused_threads() noexcept {
  return threads_refused;
}

}  // namespace librt::test

// In place of the C library's, for all of the process.
extern "C" {

void* malloc(std::size_t bytes) noexcept {
  return fails() ? nullptr : __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  return fails() ? nullptr : __libc_calloc(count, bytes);
}
void* realloc(void* old, std::size_t bytes) noexcept {
  return fails() ? nullptr : __libc_realloc(old, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  return fails() ? nullptr : __libc_memalign(alignment, bytes);
}
void* memalign(std::size_t alignment, std::size_t bytes) noexcept {
  return fails() ? nullptr : __libc_memalign(alignment, bytes);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t bytes) noexcept {
  void* const made = fails() ? nullptr : __libc_memalign(alignment, bytes);
  if (made == nullptr) return ENOMEM;
  *out = made;
  return 0;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_left >= 0 && threads_left-- <= 0) {
    threads_left = 0;
    ++threads_refused;
    return EAGAIN;
  }
  return create(thread, attributes, start, argument);
}

}  // extern "C"
