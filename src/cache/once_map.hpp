// A map whose values are made once: threads that ask for the same missing key share one making, others do not wait.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/util/making.hpp"
#include "src/util/per_process.hpp"

namespace librt::cache {

/// Thread safe; finding a value takes no lock. Value should be cheap to copy (a shared_ptr). A making that throws
/// leaves nothing behind: those who waited for it get its exception, the next caller tries again. A making may ask for
/// other keys; one that asks for its own gets util::WaitsForItself. A child that was forked while others were making
/// keeps the values and makes the rest anew.
template <class Key, class Value, class Hash = std::hash<Key>>
class OnceMap {
 public:
  struct Result {
    Value value;
    bool made = false;  ///< this call ran `make`
  };

  OnceMap() : table_(new Table(kFirstCapacity)) {}
  ~OnceMap() {
    Table* const table = table_.load();
    table->delete_nodes();
    delete table;
  }
  OnceMap(const OnceMap&) = delete;
  OnceMap& operator=(const OnceMap&) = delete;

  template <class Make>
  Result get(const Key& key, Make&& make) {
    return get_if(
        key, [](const Value&) { return true; }, std::forward<Make>(make));
  }

  /// Makes the value anew in one step, unless it is another than `stale` by now or somebody is at it: then theirs is
  /// the result. Until it is made, and where `make` throws, the map keeps `stale`.
  template <class Make>
  Result replace(const Key& key, const Value& stale, Make&& make) {
    return get_if(
        key, [&](const Value& value) { return !(value == stale); }, std::forward<Make>(make));
  }

  /// The value, if it was made.
  std::optional<Value> find(const Key& key) const noexcept {
    const Reading reading(*this);
    const Node* const node = table_.load()->find(key, Hash{}(key));
    if (node == nullptr) return std::nullopt;
    return node->value;
  }

  void clear() {
    Garbage collected;  // destroyed after the lock is gone: what a value's destructor does is not ours
    const auto state = state_.lock();
    keep_only(
        *state, [](const Key&) { return false; }, collected);
  }

  std::size_t size() const noexcept {
    const Reading reading(*this);
    return table_.load()->size();
  }

 private:
  static constexpr std::size_t kFirstCapacity = 64;
  static constexpr std::size_t kStripes = 8;

  struct Node {
    Key key;
    std::size_t hash;
    Value value;
  };

  /// Open addressing. Nodes are only added, each by one store, so that a reader or a forked child sees all of one or
  /// none of it.
  class Table {
   public:
    explicit Table(std::size_t capacity) : slots_(capacity) {}
    const Node* find(const Key& key, std::size_t hash) const noexcept {
      for (std::size_t at = index(hash);; at = next(at)) {
        const Node* const node = slots_[at].load(std::memory_order_acquire);
        if (node == nullptr || (node->hash == hash && node->key == key)) return node;
      }
    }
    void add(const Node* node) noexcept {
      std::size_t at = index(node->hash);
      while (slots_[at].load(std::memory_order_relaxed) != nullptr) at = next(at);
      slots_[at].store(node, std::memory_order_release);
      size_.fetch_add(1, std::memory_order_relaxed);
    }
    bool full() const noexcept { return 2 * (size() + 1) > capacity(); }
    std::size_t capacity() const noexcept { return slots_.size(); }
    std::size_t size() const noexcept { return size_.load(std::memory_order_relaxed); }
    template <class Visit>
    void for_each(const Visit& visit) const {
      for (const auto& slot : slots_) {
        if (const Node* const node = slot.load(std::memory_order_relaxed)) visit(node);
      }
    }
    void delete_nodes() {
      for_each([](const Node* node) { delete node; });
    }

   private:
    std::size_t index(std::size_t hash) const noexcept {
      return (hash * std::size_t{0x9e3779b97f4a7c15} >> 20) & (slots_.size() - 1);
    }
    std::size_t next(std::size_t at) const noexcept { return (at + 1) & (slots_.size() - 1); }

    std::vector<std::atomic<const Node*>> slots_;
    std::atomic<std::size_t> size_{0};
  };

  /// What readers may still look at after it was replaced.
  struct Garbage {
    std::vector<std::unique_ptr<Table>> tables;
    std::vector<std::unique_ptr<const Node>> nodes;
  };

  struct InFlight {
    std::shared_ptr<util::Making> making;
    std::shared_future<Value> value;
  };

  struct State {
    std::unordered_map<Key, InFlight, Hash> in_flight;
    Garbage garbage;
  };

  struct alignas(64) Stripe {
    std::atomic<std::uint32_t> readers{0};
  };

  /// Announces a reader for its life. All of its operations and the writers' are sequentially consistent: a writer that
  /// replaces a table and then finds a stripe without readers knows that later readers of it see the new table.
  class Reading {
   public:
    explicit Reading(const OnceMap& map) noexcept
        : stripe_(map.stripes_[std::hash<std::thread::id>{}(std::this_thread::get_id()) % kStripes]) {
      stripe_.readers.fetch_add(1);
    }
    ~Reading() { stripe_.readers.fetch_sub(1); }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    Stripe& stripe_;
  };

  template <class Accept, class Make>
  Result get_if(const Key& key, const Accept& accept, Make&& make) {
    if (auto value = find(key); value && accept(*value)) return {std::move(*value), false};
    std::promise<Value> promise;
    InFlight in_flight;
    bool leader = false;
    {
      const auto state = state_.lock();
      if (auto value = find(key); value && accept(*value)) return {std::move(*value), false};
      const auto slot = state->in_flight.find(key);
      leader = slot == state->in_flight.end();
      in_flight = leader ? InFlight{std::make_shared<util::Making>(), promise.get_future().share()} : slot->second;
      if (leader) state->in_flight.emplace(key, in_flight);
    }
    if (!leader) {
      const util::Wait waiting(in_flight.making);
      return {in_flight.value.get(), false};
    }
    try {
      Value value = std::forward<Make>(make)();
      {
        Garbage collected;
        const auto state = state_.lock();
        if (find(key)) {
          keep_only(
              *state, [&](const Key& other) { return !(other == key); }, collected);
        }
        insert(*state, key, value);
        state->in_flight.erase(key);
      }
      in_flight.making->finish();
      promise.set_value(value);
      return {std::move(value), true};
    } catch (...) {
      // The slot first: whoever sees the exception may ask again at once.
      state_.lock()->in_flight.erase(key);
      in_flight.making->finish();
      promise.set_exception(std::current_exception());
      throw;
    }
  }

  void insert(State& state, const Key& key, const Value& value) {
    auto node = std::make_unique<const Node>(Node{key, Hash{}(key), value});
    if (Table* const old = table_.load(); old->full()) {
      auto larger = std::make_unique<Table>(2 * old->capacity());
      state.garbage.tables.emplace_back();  // what may throw comes first
      old->for_each([&](const Node* each) { larger->add(each); });
      table_.store(larger.release());
      state.garbage.tables.back().reset(old);
    }
    table_.load()->add(node.release());
  }

  /// Room for `more`, so that adding them throws nothing.
  template <class T>
  static void grow_for(std::vector<T>& list, std::size_t more) {
    const std::size_t wanted = list.size() + more;
    if (wanted > list.capacity()) list.reserve(std::max(wanted, 2 * list.capacity()));
  }

  /// @param collected receives what no reader looks at any more: destroyed after the lock is gone, since what a
  /// value's destructor does is not ours
  template <class Keep>
  void keep_only(State& state, const Keep& keep, Garbage& collected) {
    Table* const old = table_.load();
    auto fresh = std::make_unique<Table>(old->capacity());
    Garbage& garbage = state.garbage;
    // What may throw comes first, and grows by doubling: collecting may be put off for long.
    garbage.tables.emplace_back();
    grow_for(garbage.nodes, old->size());
    old->for_each([&](const Node* node) {
      if (keep(node->key)) {
        fresh->add(node);
      } else {
        garbage.nodes.emplace_back(node);
      }
    });
    table_.store(fresh.release());
    garbage.tables.back().reset(old);
    for (const Stripe& stripe : stripes_) {
      if (stripe.readers.load() != 0) return;  // the next one collects it
    }
    std::swap(collected, garbage);
  }

  std::atomic<Table*> table_;
  mutable std::array<Stripe, kStripes> stripes_;
  util::PerProcess<State> state_;
};

}  // namespace librt::cache
