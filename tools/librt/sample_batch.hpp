// A small batch with a page that is not full: for `librt demo`, and to start from.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "tools/librt/decode.hpp"

namespace librt::tool {

/// One request of 13 tokens over pages of 4, so that its last page holds 1 token and 3 slots that nobody wrote; the
/// values are those of a normal distribution, the same ones every time.
class SampleBatch {
 public:
  static constexpr int kPageSize = 4;
  static constexpr int kTokens = 13;

  /// @param spec of bf16, and of pages of kPageSize.
  explicit SampleBatch(const Spec& spec);
  SampleBatch(const SampleBatch&) = delete;  // the problem points into it
  SampleBatch& operator=(const SampleBatch&) = delete;

  const DecodeProblem& problem() const { return problem_; }

  /// Writes `bits` to every element of padding and returns how many there are.
  std::size_t fill_padding(std::uint16_t bits);

 private:
  void fill(std::vector<std::uint16_t>& values, int count);

  std::mt19937 random_{941};
  std::vector<std::vector<std::uint16_t>> queries_;
  std::vector<std::vector<std::uint16_t>> pages_;
  DecodeProblem problem_;
};

}  // namespace librt::tool
