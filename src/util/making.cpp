#include "src/util/making.hpp"

#include <unordered_map>
#include <utility>

#include "src/util/per_process.hpp"

namespace librt::util {
namespace {

using Waits = PerProcess<std::unordered_map<std::thread::id, std::shared_ptr<const Making>>>;

/// What each thread waits for. Never destroyed: threads may wait while the process exits.
Waits& waits() {
  static Waits& all = *new Waits;
  return all;
}

}  // namespace

WaitsForItself::WaitsForItself()
    : Error(ErrorCode::invalid_argument,
            "a callback asked for what its own thread is making, or for what waits for that: it would wait for ever") {}

Wait::Wait(std::shared_ptr<const Making> making) {
  const std::thread::id self = std::this_thread::get_id();
  const auto all = waits().lock();
  for (const Making* next = making.get(); !next->finished_.load();) {
    if (next->maker_ == self) throw WaitsForItself();
    const auto further = all->find(next->maker_);
    if (further == all->end()) break;
    next = further->second.get();
  }
  all->emplace(self, std::move(making));
}

Wait::~Wait() {
  waits().lock()->erase(std::this_thread::get_id());
}

}  // namespace librt::util
