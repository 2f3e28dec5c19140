// How far long work has come, on stderr, where a person is watching.
#pragma once

#include <cstddef>
#include <string>

namespace librt::tool {

/// Draws nothing unless stderr is a terminal. Not thread safe.
class ProgressBar {
 public:
  explicit ProgressBar(std::size_t all);
  ~ProgressBar();  ///< clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(std::size_t done, const std::string& doing);

 private:
  std::size_t all_;
  bool visible_;
};

}  // namespace librt::tool
