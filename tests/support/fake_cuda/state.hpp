// What the fake driver remembers.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/fake_cuda/fake_cuda.hpp"

namespace fake_cuda {

struct State {
  std::mutex mutex;
  Machine machine;
  std::map<std::string, int, std::less<>> failing;
  std::set<std::string, std::less<>> hidden;
  std::vector<std::string> calls;
  std::vector<Launch> launches;
  std::vector<Copy> async_copies;
  std::deque<LoadedCode> loaded_code;  // handles point at the elements
  std::map<std::uint64_t, std::vector<std::byte>> allocations;
  std::set<const LoadedCode*> live_libraries;
  int retained_contexts = 0;
};

State& state();
/// The contexts current on this thread, innermost last.
std::vector<const void*>& context_stack();

}  // namespace fake_cuda
