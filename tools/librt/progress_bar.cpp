#include "tools/librt/progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <new>
#include <stop_token>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "tools/librt/terminal.hpp"

namespace librt::tool {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kTurn{200};

std::string in_words(Seconds time) {
  const auto seconds = static_cast<std::uint64_t>(std::max(time.count(), 0.0));
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{}:{:02} min", seconds / 60, seconds % 60);
  return fmt::format("{}:{:02} h", seconds / 3600, seconds / 60 % 60);
}

/// A terminal that has gone takes no words, and nothing depends on these.
void write_to_terminal(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

constexpr std::string_view kClear = "\r\x1b[K";

/// Held while anything is written to the terminal: a bar, or words that must not meet one.
std::mutex terminal_mutex;
bool bar_is_drawn = false;

void clear_bar() {
  if (std::exchange(bar_is_drawn, false)) write_to_terminal(kClear);
}

}  // namespace

std::string progress_line(const Progress& progress, std::size_t columns) {
  constexpr std::array kTurns = {'|', '/', '-', '\\'};
  constexpr std::size_t kBar = 20, kLeastWords = 12;
  if (columns < 2) return {};
  const std::size_t room = columns - 1;  // the last column would move some terminals to the next line
  std::string line(1, kTurns[progress.turns % kTurns.size()]);
  std::string bar;
  if (progress.all > 0) {
    const std::size_t done = std::min(progress.done, progress.all);
    const std::size_t full = done * kBar / progress.all;
    bar = fmt::format(" [{:#<{}}{:.<{}}]", "", full, "", kBar - full);
    line += fmt::format(" {}/{}", done, progress.all);
  }
  line += fmt::format(" {}", in_words(progress.elapsed));
  if (progress.left) line += fmt::format(", {} left", in_words(*progress.left));
  if (line.size() + bar.size() + kLeastWords < room) line.insert(1, bar);
  if (line.size() + kLeastWords < room) line += "  " + shortened(progress.doing, room - line.size() - 2);
  return shortened(line, room);
}

class ProgressBar::Drawing {
 public:
  Drawing(std::string doing, std::size_t all) {
    progress_.doing = std::move(doing);
    progress_.all = all;
    try {
      ticker_ = std::jthread([this](const std::stop_token& stop) { tick(stop); });
    } catch (const std::system_error&) {  // NOLINT(bugprone-empty-catch): with no more threads, it only moves less
    }
  }

  ~Drawing() {
    ticker_ = {};
    const std::lock_guard lock(terminal_mutex);
    clear_bar();
  }

  Drawing(const Drawing&) = delete;
  Drawing& operator=(const Drawing&) = delete;

  template <class Change>
  void change(const Change& make) {
    const std::lock_guard lock(terminal_mutex);
    const std::size_t before = progress_.done;
    make(progress_);
    if (progress_.done > before && progress_.done <= progress_.all) {
      // What is left takes as long as what is done took, piece by piece.
      const Seconds each = Seconds(Clock::now() - begin_) / static_cast<double>(progress_.done);
      left_at_ = Clock::now();
      progress_.left = each * static_cast<double>(progress_.all - progress_.done);
    }
    draw();
  }

 private:
  void tick(const std::stop_token& stop) {
    std::unique_lock lock(terminal_mutex);
    while (!wake_.wait_for(lock, stop, kTurn, [&] { return stop.stop_requested(); })) {
      ++progress_.turns;
      try {
        draw();
      } catch (const std::bad_alloc&) {  // the work may need what is left
        return;
      }
    }
  }

  void draw() {
    Progress now = progress_;
    now.elapsed = Clock::now() - begin_;
    if (now.left) now.left = std::max(Seconds(0), *now.left - Seconds(Clock::now() - left_at_));
    // In one write, so that nothing of another process comes between.
    write_to_terminal(fmt::format("\r{}\x1b[K", progress_line(now, columns_of(Stream::err))));
    bar_is_drawn = true;
  }

  const Clock::time_point begin_ = Clock::now();
  Clock::time_point left_at_ = begin_;
  Progress progress_;
  std::condition_variable_any wake_;
  std::jthread ticker_;  // last: it uses the others
};

ProgressBar::ProgressBar(std::string doing, std::size_t all) {
  if (can_redraw(Stream::err)) drawing_ = std::make_unique<Drawing>(std::move(doing), all);
}

ProgressBar::~ProgressBar() = default;

void ProgressBar::show(std::size_t done, std::string doing) {
  if (!drawing_) return;
  drawing_->change([&](Progress& progress) {
    progress.done = done;
    progress.doing = std::move(doing);
  });
}

void ProgressBar::next(std::string doing) {
  if (!drawing_) return;
  drawing_->change([&](Progress& progress) {
    progress.done += progress.doing.empty() ? 0 : 1;
    progress.doing = std::move(doing);
  });
}

void without_progress(const std::function<void()>& write) {
  const std::lock_guard lock(terminal_mutex);
  clear_bar();
  write();
}

}  // namespace librt::tool
