// State behind a mutex that a forked child can still use.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

namespace librt::util {

/// Changes in the child of a fork and nowhere else. Costs one relaxed load.
unsigned process_generation() noexcept;

/// A T and its mutex. A forked child starts with a fresh T behind a fresh mutex: the thread that held the old one is
/// not there to release it, and what it was changing may be half changed. The parent's T is left where it lies, so that
/// references into it stay valid.
template <class T>
class PerProcess {
  struct Slot {
    unsigned generation;
    std::mutex mutex{};
    T value{};
  };

 public:
  class Locked {
   public:
    explicit Locked(Slot& slot) : lock_(slot.mutex), value_(&slot.value) {}
    T* operator->() const noexcept { return value_; }
    T& operator*() const noexcept { return *value_; }

   private:
    std::unique_lock<std::mutex> lock_;
    T* value_;
  };

  PerProcess() : slot_(new Slot{.generation = process_generation()}) {}
  ~PerProcess() { delete slot_.load(); }
  PerProcess(const PerProcess&) = delete;
  PerProcess& operator=(const PerProcess&) = delete;

  Locked lock() {
    Slot* slot = slot_.load(std::memory_order_acquire);
    if (slot->generation != process_generation()) {
      auto fresh = std::make_unique<Slot>(process_generation());
      if (slot_.compare_exchange_strong(slot, fresh.get())) slot = fresh.release();
    }
    return Locked(*slot);
  }

 private:
  std::atomic<Slot*> slot_;
};

}  // namespace librt::util
