// A map whose values are made once: threads that ask for the same missing key share one making, others do not wait.
#pragma once

#include <cstddef>
#include <functional>
#include <future>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

namespace librt::cache {

/// Thread safe. Value should be cheap to copy (a shared_ptr). A making that throws leaves nothing behind: those who
/// waited for it get its exception, the next caller tries again. A making may ask for other keys, not for its own.
template <class Key, class Value, class Hash = std::hash<Key>>
class OnceMap {
 public:
  struct Result {
    Value value;
    bool made = false;  ///< this call ran `make`
  };

  template <class Make>
  Result get(const Key& key, Make&& make) {
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = ready_.find(key); found != ready_.end()) return {found->second, false};
    }
    std::promise<Value> promise;
    std::shared_future<Value> waiting;
    {
      const std::unique_lock lock(mutex_);
      if (const auto found = ready_.find(key); found != ready_.end()) return {found->second, false};
      const auto [slot, leader] = in_flight_.try_emplace(key);
      if (leader) {
        slot->second = promise.get_future().share();
      } else {
        waiting = slot->second;
      }
    }
    if (waiting.valid()) return {waiting.get(), false};
    try {
      Value value = std::forward<Make>(make)();
      {
        const std::unique_lock lock(mutex_);
        ready_.insert_or_assign(key, value);
        in_flight_.erase(key);
      }
      promise.set_value(value);
      return {std::move(value), true};
    } catch (...) {
      {
        const std::unique_lock lock(mutex_);
        in_flight_.erase(key);
      }
      promise.set_exception(std::current_exception());
      throw;
    }
  }

  void clear() {
    const std::unique_lock lock(mutex_);
    ready_.clear();
  }

  std::size_t size() const {
    const std::shared_lock lock(mutex_);
    return ready_.size();
  }

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<Key, Value, Hash> ready_;
  std::unordered_map<Key, std::shared_future<Value>, Hash> in_flight_;
};

}  // namespace librt::cache
