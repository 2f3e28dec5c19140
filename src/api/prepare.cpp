// Runtime::prepare: get() of many specs, on several threads.
#include <librt/runtime.hpp>

#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "src/util/for_each_index.hpp"

namespace librt {

std::vector<Kernel> Runtime::prepare(std::span<const Spec> specs, unsigned threads) {
  std::vector<std::optional<Kernel>> made(specs.size());
  std::vector<std::exception_ptr> failures(specs.size());
  util::for_each_index(specs.size(), threads, [&](std::size_t i) {
    try {
      made[i] = get(specs[i]);
    } catch (...) {
      failures[i] = std::current_exception();
    }
  });
  std::vector<Kernel> kernels;
  kernels.reserve(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (failures[i]) std::rethrow_exception(failures[i]);
    kernels.push_back(std::move(*made[i]));
  }
  return kernels;
}

}  // namespace librt
