// A launch of a kernel that takes no plan, on the tensors of a file.
#pragma once

#include <librt/librt.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "src/util/safetensors.hpp"

namespace librt::tool {

struct OperandLaunch {
  struct Argument {
    std::string name{};                    ///< in the file
    const util::Tensor* tensor = nullptr;  ///< null: a count
    std::int64_t count = 0;
  };

  Spec spec{};
  bool hnd = false;  ///< pages are [num_pages, heads, page_size, dim]
  std::int64_t num_pages = 0;
  std::vector<Argument> arguments{};  ///< by operand
};

/// What the description refuses of the launch's integers, told before anything is computed.
void inspect(const OperandLaunch& launch);

/// Runs it, and returns the bytes of the file with the tensors that it has updated.
std::vector<std::byte> run_operands(Runtime& runtime, const Kernel& kernel, const OperandLaunch& launch);

}  // namespace librt::tool
