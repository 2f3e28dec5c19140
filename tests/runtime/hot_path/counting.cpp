#include "tests/runtime/hot_path/counting.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <pthread.h>

#include <cstdlib>

#include "tests/support/fake_cuda/fake_cuda.hpp"

namespace librt::test {
namespace {

thread_local bool is_counting = false;
thread_local Counts counted{};

void count(int Counts::*what) {
  if (is_counting && !fake_cuda::is_busy()) ++(counted.*what);
}

/// The function of that name that comes after this executable's.
template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

std::string to_string(const Counts& counts) {
  return fmt::format("{} allocations, {} deallocations, {} locks, {} reads of the environment", counts.allocations,
                     counts.deallocations, counts.locks, counts.environment);
}

Counting::Counting() {
  counted = {};
  is_counting = true;
}
Counting::~Counting() {
  is_counting = false;
}
Counts Counting::counts() const {
  return counted;
}

}  // namespace librt::test

// glibc keeps these names of its allocator for those who replace it.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* old, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* memory);

using librt::test::count;
using librt::test::Counts;
using librt::test::next;

void* malloc(std::size_t bytes) {
  count(&Counts::allocations);
  return __libc_malloc(bytes);
}
void* calloc(std::size_t number, std::size_t bytes) {
  count(&Counts::allocations);
  return __libc_calloc(number, bytes);
}
void* realloc(void* old, std::size_t bytes) {
  count(&Counts::allocations);
  return __libc_realloc(old, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count(&Counts::allocations);
  return __libc_memalign(alignment, bytes);
}
void free(void* memory) {
  if (memory != nullptr) count(&Counts::deallocations);
  __libc_free(memory);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_lock");
  count(&Counts::locks);
  return real(mutex);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  count(&Counts::locks);
  return real(mutex);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  count(&Counts::locks);
  return real(lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  count(&Counts::locks);
  return real(lock);
}
int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  static auto* const real = next<int(pthread_cond_t*, pthread_mutex_t*)>("pthread_cond_wait");
  count(&Counts::locks);
  return real(condition, mutex);
}

char* getenv(const char* name) {
  static auto* const real = next<char*(const char*)>("getenv");
  count(&Counts::environment);
  return real(name);
}
char* secure_getenv(const char* name) {
  static auto* const real = next<char*(const char*)>("secure_getenv");
  count(&Counts::environment);
  return real(name);
}
}
