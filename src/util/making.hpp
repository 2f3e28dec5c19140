// The making of a value that other threads wait for, and the waits that would never end.
#pragma once

#include <librt/error.hpp>

#include <atomic>
#include <memory>
#include <thread>

namespace librt::util {

/// Thrown instead of a wait that would never end.
class WaitsForItself : public Error {
 public:
  WaitsForItself();
};

/// One making, by the thread that made this object; shared with those who wait for it.
class Making {
 public:
  Making() : maker_(std::this_thread::get_id()) {}
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;

  /// By the maker, successful or not, before it lets anybody go on who waits.
  void finish() noexcept {
    finished_.store(true);
    finished_.notify_all();
  }
  void wait_until_finished() const noexcept { finished_.wait(false); }

 private:
  friend class Wait;
  const std::thread::id maker_;
  std::atomic<bool> finished_{false};
};

/// That this thread waits for a making. Throws WaitsForItself where the maker is this thread, or waits, directly or
/// over others, for what this thread makes: a callback of the user's, called in the middle of a making, asked for it.
class Wait {
 public:
  explicit Wait(std::shared_ptr<const Making> making);
  ~Wait();
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
};

}  // namespace librt::util
