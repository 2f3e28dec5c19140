// Where librt's messages go: the caller's function, or spdlog to stderr.
#pragma once

#include <librt/options.hpp>

#include <functional>
#include <memory>
#include <string_view>

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

}  // namespace librt::util
