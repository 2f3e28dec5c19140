// Where librt's messages go: the caller's function, or spdlog to stderr.
#pragma once

#include <librt/options.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace librt::util {

/// Thread safe. Cheap to copy. What the caller's function throws is swallowed: a log line never fails a request.
class Log {
 public:
  /// @param sink empty = spdlog to stderr. @param level messages below it are dropped before the sink.
  Log(std::function<void(LogLevel, std::string_view)> sink, LogLevel level);

  void operator()(LogLevel level, std::string_view message) const noexcept;
  bool enabled(LogLevel level) const noexcept { return level >= level_; }

 private:
  std::shared_ptr<const std::function<void(LogLevel, std::string_view)>> sink_;
  LogLevel level_;
};

/// For its life the messages of this thread, of every Log, wait; its end passes them on in their order. It lives longer
/// than a lock of files: what a message is passed to may ask for something that needs the same lock.
class HeldMessages {
 public:
  HeldMessages() noexcept;
  ~HeldMessages();
  HeldMessages(const HeldMessages&) = delete;
  HeldMessages& operator=(const HeldMessages&) = delete;

 private:
  friend class Log;
  struct Message {
    Log log;
    LogLevel level;
    std::string text;
  };
  std::vector<Message> messages_;
  HeldMessages* outer_;
};

}  // namespace librt::util
