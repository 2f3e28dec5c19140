// The side of the fake driver that tests talk to.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>

#include "tests/support/fake_cuda/state.hpp"

namespace fake_cuda {

namespace cuda = librt::device::cuda;

namespace {

thread_local int busy_depth = 0;

// A context is the address of one of these.
constexpr std::array<char, 16> primaries{};
constexpr char foreign = 0;

}  // namespace

Busy::Busy() {
  ++busy_depth;
}
Busy::~Busy() {
  --busy_depth;
}

bool is_busy() {
  return busy_depth > 0;
}

State& state() {
  static State& instance = *new State;
  return instance;
}

std::vector<const void*>& context_stack() {
  thread_local std::vector<const void*> stack;
  return stack;
}

int device_of(const void* context) {
  for (std::size_t device = 0; device < primaries.size(); ++device) {
    if (context == &primaries[device]) return static_cast<int>(device);
  }
  return -1;
}

void State::enqueue(const Copy& copy, const void* from) {
  async_copies.push_back(copy);
  pending.push_back({.from = from, .copy = copy});
}

void State::enqueue(Launch launch) {
  pending.push_back({.launch = launches.size()});
  launches.push_back(std::move(launch));
}

void State::perform(std::size_t until) {
  for (; performed < until && !pending.empty(); ++performed, pending.pop_front()) {
    const Pending& next = pending.front();
    if (next.from != nullptr) {
      std::memcpy(reinterpret_cast<void*>(next.copy.device_address), next.from, next.copy.bytes);
    } else {
      const auto* const at = reinterpret_cast<const std::byte*>(watched);
      launches[next.launch].watched.assign(at, at + watched_bytes);
    }
  }
}

bool State::is_capturing() const {
  return std::ranges::any_of(streams, [](const Stream* stream) { return stream->is_capturing; });
}

Result refusal(State& s) {
  // Before any lock is taken: in a forked child another thread may have held it.
  const pid_t owner = s.initialised_by.load();
  if (owner != 0 && owner != ::getpid()) {
    ++s.calls_after_fork;
    return cuda::kNotInitialized;
  }
  if (s.is_shut_down.load()) {
    ++s.calls_after_shut_down;
    return cuda::kDeinitialized;
  }
  return cuda::kSuccess;
}

Result failure_of(State& s, std::string_view name) {
  ++s.counts[std::string(name)];
  const auto found = s.failing.find(name);
  if (found == s.failing.end()) return cuda::kSuccess;
  Failure& failure = found->second;
  return failure.only_nth == 0 || ++failure.seen == failure.only_nth ? failure.code : cuda::kSuccess;
}

void reset() {
  State& s = state();
  const std::scoped_lock lock(s.mutex);
  s.machine = {};
  s.failing.clear();
  s.hidden.clear();
  s.calls.clear();
  s.counts.clear();
  s.launches.clear();
  s.async_copies.clear();
  s.pending.clear();
  s.performed = 0;
  s.watched_bytes = 0;
  for (Event* event : s.events) delete event;
  s.events.clear();
  s.pinned.clear();
  s.libraries.clear();
  s.allocations.clear();
  s.live_libraries.clear();
  for (Stream* stream : s.streams) delete stream;
  s.streams.clear();
  s.retained_contexts = 0;
  s.is_shut_down = false;
  s.calls_after_shut_down = 0;
  s.initialised_by = 0;
  s.calls_after_fork = 0;
  context_stack().clear();
}

void fail(std::string_view entry, int code) {
  fail_call(entry, 0, code);
}

void fail_call(std::string_view entry, int nth, int code) {
  const std::scoped_lock lock(state().mutex);
  state().failing.insert_or_assign(std::string(entry), Failure{.code = code, .only_nth = nth});
}

void heal() {
  const std::scoped_lock lock(state().mutex);
  state().failing.clear();
}

void hide(std::string_view entry) {
  const std::scoped_lock lock(state().mutex);
  state().hidden.emplace(entry);
}

void shut_down() {
  state().is_shut_down = true;
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
  const auto found = state().counts.find(entry);
  return found == state().counts.end() ? 0 : found->second;
}

int calls_after_shut_down() {
  return state().calls_after_shut_down;
}

int calls_after_fork() {
  return state().calls_after_fork;
}

std::vector<Launch> launches() {
  const std::scoped_lock lock(state().mutex);
  return state().launches;
}

void watch(std::uint64_t device_address, std::size_t bytes) {
  const std::scoped_lock lock(state().mutex);
  state().watched = device_address;
  state().watched_bytes = bytes;
}

std::vector<LoadedCode> loaded_code() {
  const std::scoped_lock lock(state().mutex);
  std::vector<LoadedCode> all;
  for (const Library& library : state().libraries) {
    LoadedCode& code = all.emplace_back();
    code.first_bytes = library.first_bytes;
    code.kernel_name = library.kernel_name;
    code.max_dynamic_shared_bytes = library.max_dynamic_shared_bytes;
    for (const auto& [device, function] : library.functions) code.is_loaded[device] = function.is_loaded;
  }
  return all;
}

std::vector<Copy> async_copies() {
  const std::scoped_lock lock(state().mutex);
  return state().async_copies;
}

Outstanding outstanding() {
  const std::scoped_lock lock(state().mutex);
  return {.allocations = static_cast<int>(state().allocations.size()),
          .pinned = static_cast<int>(state().pinned.size()),
          .events = static_cast<int>(state().events.size()),
          .libraries = static_cast<int>(state().live_libraries.size()),
          .contexts = state().retained_contexts,
          .context_depth = static_cast<int>(context_stack().size())};
}

const void* push_foreign_context() {
  context_stack().push_back(&foreign);
  return &foreign;
}

const void* current_context() {
  return context_stack().empty() ? nullptr : context_stack().back();
}

const void* primary_context(int device) {
  return &primaries.at(static_cast<std::size_t>(device));
}

}  // namespace fake_cuda
