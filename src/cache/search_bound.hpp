// How far a search through all entries of a store may go where somebody waits for it.
#pragma once

#include <chrono>
#include <cstddef>

namespace librt::cache {

/// Many entries take long and a slow disk takes long; a few are always looked at.
class SearchBound {
 public:
  static constexpr std::size_t kAtLeast = 32;
  static constexpr std::size_t kAtMost = 512;
  static constexpr std::chrono::milliseconds kTime{100};

  /// After each entry: whether there is to be another.
  bool goes_on() {
    ++seen_;
    return seen_ < kAtLeast || (seen_ < kAtMost && std::chrono::steady_clock::now() - begin_ < kTime);
  }
  std::size_t seen() const { return seen_; }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::size_t seen_ = 0;
};

}  // namespace librt::cache
