// How far long work has come, on stderr, where a person is watching.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace librt::tool {

struct Progress {
  std::size_t done = 0;
  std::size_t all = 0;  ///< 0 = one piece of work, whose length nobody knows
  std::string doing{};
  std::chrono::duration<double> elapsed{};
  std::optional<std::chrono::duration<double>> left{};  ///< none = not known yet
  std::size_t turns = 0;                                ///< of what shows that the work goes on
};

/// One line that is narrower than `columns`. What is said first goes last: the bar, then the words, then the times.
std::string progress_line(const Progress& progress, std::size_t columns);

/// Draws nothing unless stderr is a terminal that can_redraw(). A thread of its own shows that time passes; it ends
/// with the bar. At most one bar at a time. Thread safe.
class ProgressBar {
 public:
  explicit ProgressBar(std::string doing, std::size_t all = 0);
  ~ProgressBar();  ///< clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(std::size_t done, std::string doing);
  /// What is done now; what was named before is done.
  void next(std::string doing);

 private:
  class Drawing;
  std::unique_ptr<Drawing> drawing_;  // null where nobody watches
};

/// Writes to the terminal with no bar in the way: it is taken off before and drawn again later.
void without_progress(const std::function<void()>& write);

}  // namespace librt::tool
