#include "src/util/log.hpp"

// Newer versions keep a map for each thread, whose destructor would run at exit.
#define SPDLOG_NO_TLS 1
#include <pthread.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>
#include <utility>

#include "src/util/per_process.hpp"
#include "src/util/text.hpp"
#include "src/util/write_signals.hpp"

namespace librt::util {
namespace {

using Sink = std::function<void(LogLevel, std::string_view)>;

spdlog::level::level_enum spdlog_level(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// The names that LIBRT_LOG takes; spdlog's own differ from them.
std::string_view level_name(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      return "error";
  }
  return "error";
}

// Not in spdlog's registry: a program that uses spdlog itself must not meet our logger there. The sink has no mutex of
// spdlog's: one that another thread holds during a fork would never be released in the child.
struct StderrLogger {
  StderrLogger() {
    logger.set_level(spdlog::level::debug);
    logger.set_pattern("%Y-%m-%d %H:%M:%S.%e %n %v");
    logger.flush_on(spdlog::level::debug);
  }
  spdlog::logger logger{"librt", std::make_shared<spdlog::sinks::stderr_sink_st>()};
};

constexpr std::size_t kMostLogged = 16384;

Sink stderr_sink() {
  return [logger = std::make_shared<PerProcess<StderrLogger>>()](LogLevel level, std::string_view message) {
    const WriteSignalsBlocked blocked;  // stderr may be a file that may not grow, or a pipe that nobody reads
    logger->lock()->logger.log(spdlog_level(level), "{}: {}", level_name(level),
                               printable(message.substr(0, kMostLogged)));
  };
}

thread_local HeldMessages* held = nullptr;

/// A thread that is cancelled in the caller's function could not be unwound over ours.
struct CancellationDisabled {
  CancellationDisabled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before); }
  ~CancellationDisabled() { ::pthread_setcancelstate(before, nullptr); }
  CancellationDisabled(const CancellationDisabled&) = delete;
  CancellationDisabled& operator=(const CancellationDisabled&) = delete;
  int before = 0;
};

}  // namespace

Log::Log(Sink sink, LogLevel level)
    : sink_(std::make_shared<const Sink>(sink ? std::move(sink) : stderr_sink())), level_(level) {}

void Log::operator()(LogLevel level, std::string_view message) const noexcept {
  if (!enabled(level)) return;
  try {
    if (held != nullptr) {
      held->messages_.push_back({*this, level, std::string(message)});
    } else {
      const CancellationDisabled disabled;
      (*sink_)(level, message);
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): a log line never fails a request
  }
}

HeldMessages::HeldMessages() noexcept : outer_(std::exchange(held, this)) {}

HeldMessages::~HeldMessages() {
  held = outer_;
  for (const Message& message : messages_) message.log(message.level, message.text);
}

}  // namespace librt::util
