// How far a search through all entries of a store may go where somebody waits for it.
#pragma once

#include <chrono>
#include <cstddef>

#include "src/cache/io_ops.hpp"

namespace librt::cache {

/// Many entries take long and a slow disk takes long; a few are always looked at.
class SearchBound {
 public:
  static constexpr std::size_t kAtLeast = 32;
  static constexpr std::size_t kAtMost = 512;
  static constexpr std::chrono::milliseconds kTime{100};

  explicit SearchBound(IoOps& io) : io_(io) {}

  /// After each entry: whether there is to be another.
  bool goes_on() {
    ++seen_;
    return seen_ < kAtLeast || (seen_ < kAtMost && io_.clock() - begin_ < kTime);
  }

 private:
  IoOps& io_;
  std::chrono::milliseconds begin_ = io_.clock();
  std::size_t seen_ = 0;
};

}  // namespace librt::cache
