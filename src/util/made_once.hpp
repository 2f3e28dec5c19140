// A value that is made when it is first needed.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "src/util/making.hpp"
#include "src/util/per_process.hpp"

namespace librt::util {

/// Thread safe; finding the value takes no lock. Threads that need it first share one making; one that throws leaves
/// nothing behind, so the next caller tries again. A making that asks for itself gets WaitsForItself. A forked child
/// keeps a value that was there and makes a missing one itself, whatever the parent's threads were doing.
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
    for (;;) {
      if (const T* const made = value_.load(std::memory_order_acquire)) return *made;
      const Attempt turn(making_);
      if (turn.is_mine()) return make_now(std::forward<Make>(make));
      turn.wait();
    }
  }

 private:
  using Slot = PerProcess<std::shared_ptr<Making>>;

  /// The making that is under way: this thread's own, if there was none.
  class Attempt {
   public:
    explicit Attempt(Slot& slot) : slot_(slot) {
      const auto current = slot_.lock();
      is_mine_ = *current == nullptr;
      if (is_mine_) *current = std::make_shared<Making>();
      making_ = *current;
    }
    ~Attempt() {
      if (!is_mine_) return;
      slot_.lock()->reset();
      making_->finish();
    }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    bool is_mine() const noexcept { return is_mine_; }
    void wait() const {
      const Wait waiting(making_);
      making_->wait_until_finished();
    }

   private:
    Slot& slot_;
    bool is_mine_ = false;
    std::shared_ptr<Making> making_;
  };

  template <class Make>
  const T& make_now(Make&& make) {
    if (const T* const made = value_.load(std::memory_order_acquire)) return *made;  // by the last one, meanwhile
    auto fresh = std::make_unique<const T>(std::forward<Make>(make)());
    value_.store(fresh.get(), std::memory_order_release);
    return *fresh.release();
  }

  std::atomic<const T*> value_{nullptr};
  Slot making_;
};

}  // namespace librt::util
