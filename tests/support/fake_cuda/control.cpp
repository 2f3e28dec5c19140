// The side of the fake driver that tests talk to.
#include <algorithm>

#include "tests/support/fake_cuda/state.hpp"

namespace fake_cuda {

State& state() {
  static State instance;
  return instance;
}

std::vector<const void*>& context_stack() {
  thread_local std::vector<const void*> stack;
  return stack;
}

void reset() {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  s.machine = {};
  s.failing.clear();
  s.hidden.clear();
  s.calls.clear();
  s.launches.clear();
  s.async_copies.clear();
  s.loaded_code.clear();
  s.allocations.clear();
  s.live_libraries.clear();
  s.retained_contexts = 0;
  context_stack().clear();
}

void fail(std::string_view entry, int code) {
  const std::scoped_lock lock(state().mutex);
  state().failing.insert_or_assign(std::string(entry), code);
}

void hide(std::string_view entry) {
  const std::scoped_lock lock(state().mutex);
  state().hidden.emplace(entry);
}

void set_machine(const Machine& machine) {
  const std::scoped_lock lock(state().mutex);
  state().machine = machine;
}

std::vector<std::string> calls() {
  const std::scoped_lock lock(state().mutex);
  return state().calls;
}

std::size_t count(std::string_view entry) {
  const std::scoped_lock lock(state().mutex);
  return static_cast<std::size_t>(std::ranges::count(state().calls, entry));
}

std::vector<Launch> launches() {
  const std::scoped_lock lock(state().mutex);
  return state().launches;
}

std::vector<LoadedCode> loaded_code() {
  const std::scoped_lock lock(state().mutex);
  return {state().loaded_code.begin(), state().loaded_code.end()};
}

std::vector<Copy> async_copies() {
  const std::scoped_lock lock(state().mutex);
  return state().async_copies;
}

Outstanding outstanding() {
  const std::scoped_lock lock(state().mutex);
  return {.allocations = static_cast<int>(state().allocations.size()),
          .libraries = static_cast<int>(state().live_libraries.size()),
          .contexts = state().retained_contexts,
          .context_depth = static_cast<int>(context_stack().size())};
}

const void* push_foreign_context() {
  static const int foreign = 0;
  context_stack().push_back(&foreign);
  return &foreign;
}

const void* current_context() {
  return context_stack().empty() ? nullptr : context_stack().back();
}

const void* primary_context() {
  static const int primary = 0;
  return &primary;
}

}  // namespace fake_cuda
