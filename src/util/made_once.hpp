// A value that is made when it is first needed.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "src/util/per_process.hpp"

namespace librt::util {

/// Thread safe; finding the value takes no lock. Threads that need it first share one making; one that throws leaves
/// nothing behind, so the next caller tries again. A forked child keeps a value that was there and makes a missing one
/// itself, whatever the parent's threads were doing.
template <class T>
class MadeOnce {
 public:
  MadeOnce() = default;
  ~MadeOnce() { delete value_.load(); }
  MadeOnce(const MadeOnce&) = delete;
  MadeOnce& operator=(const MadeOnce&) = delete;

  /// The reference stays valid as long as this object.
  template <class Make>
  const T& get(Make&& make) {
    if (const T* const made = value_.load(std::memory_order_acquire)) return *made;
    const auto turn = making_.lock();
    if (const T* const made = value_.load(std::memory_order_acquire)) return *made;
    auto fresh = std::make_unique<const T>(std::forward<Make>(make)());
    value_.store(fresh.get(), std::memory_order_release);
    return *fresh.release();
  }

 private:
  struct Nothing {};

  std::atomic<const T*> value_{nullptr};
  PerProcess<Nothing> making_;
};

}  // namespace librt::util
