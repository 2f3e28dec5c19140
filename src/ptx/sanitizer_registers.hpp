// Which reads of registers could come before any write. On nearly every path of compiled code all is written first, so
// only the others are followed when the kernel runs.
#pragma once

#include <cstdint>
#include <vector>

#include "src/ptx/program.hpp"

namespace librt::ptx {

class RegisterPlan {
 public:
  /// Follows every path through the code; a guarded instruction may not write.
  explicit RegisterPlan(const Kernel& kernel);

  /// Bit numbers of the registers that this instruction may read unwritten; its guard comes first.
  const std::vector<std::uint32_t>& doubtful(std::size_t instruction) const { return doubtful_[instruction]; }
  /// Numbers of the registers that it writes and that some instruction may read unwritten.
  const std::vector<std::uint32_t>& followed(std::size_t instruction) const { return followed_[instruction]; }
  bool guard_is_doubtful(std::size_t instruction) const { return guard_doubtful_[instruction]; }
  bool any() const { return count_ != 0; }
  std::uint32_t count() const { return count_; }

 private:
  std::vector<std::vector<std::uint32_t>> doubtful_, followed_;
  std::vector<bool> guard_doubtful_;
  std::uint32_t count_ = 0;
};

}  // namespace librt::ptx
