// What the fake driver remembers.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "src/device/cuda/driver_api.hpp"
#include "tests/support/fake_cuda/fake_cuda.hpp"

namespace fake_cuda {

using librt::device::cuda::Result;

/// How an entry fails: always, or in its n-th call only.
struct Failure {
  int code = 0;
  int only_nth = 0;  // 0 = always
  int seen = 0;
};

struct Library;

/// A kernel in one context.
struct Function {
  Library* library = nullptr;
  int device = 0;
  bool is_loaded = false;
};

/// A library and its one kernel.
struct Library {
  std::string first_bytes;
  std::string kernel_name;
  std::map<int, int> max_dynamic_shared_bytes;
  std::map<int, Function> functions;  // by device
};

/// Aligned as the driver's.
struct Allocation {
  explicit Allocation(std::size_t size) : bytes(size), memory(new (kAlignment) std::byte[size]{}) {}

  static constexpr std::align_val_t kAlignment{256};
  struct Delete {
    void operator()(std::byte* memory) const noexcept { operator delete[](memory, kAlignment); }
  };
  std::size_t bytes;
  std::unique_ptr<std::byte, Delete> memory;
};

struct CopyNode {
  Copy copy;
  const void* from;
};

/// What a capture recorded, in order of kind: copies come before the launches in all that librt enqueues.
struct Graph {
  std::vector<CopyNode> copies;
  std::vector<Launch> launches;
};

/// What a stream has been given and has not done yet.
struct Pending {
  const void* from = nullptr;  // null: a launch
  Copy copy{};
  std::size_t launch = 0;  // its place among the launches
};

struct Event {
  std::size_t after = 0;  // how much of all that was ever enqueued
};

struct Stream {
  bool is_capturing = false;
  bool is_invalidated = false;
  Graph graph;
};

struct State {
  std::mutex mutex;
  Machine machine;
  std::map<std::string, Failure, std::less<>> failing;
  std::set<std::string, std::less<>> hidden;
  std::vector<std::string> calls;
  std::map<std::string, std::size_t, std::less<>> counts;
  std::vector<Launch> launches;
  std::vector<Copy> async_copies;
  std::deque<Pending> pending;
  std::size_t performed = 0;
  std::uint64_t watched = 0;
  std::size_t watched_bytes = 0;
  std::set<Event*> events;
  std::map<void*, std::unique_ptr<std::byte[]>> pinned;
  std::deque<Library> libraries;  // handles point at the elements
  std::map<std::uint64_t, Allocation> allocations;
  std::set<const Library*> live_libraries;
  std::set<Stream*> streams;
  int retained_contexts = 0;
  std::atomic<bool> is_shut_down{false};
  std::atomic<int> calls_after_shut_down{0};
  std::atomic<pid_t> initialised_by{0};
  std::atomic<int> calls_after_fork{0};

  bool is_capturing() const;
  void enqueue(const Copy& copy, const void* from);
  void enqueue(Launch launch);
  /// Work is done when somebody waits for it, and no sooner.
  void perform(std::size_t until);
  void perform_all() { perform(performed + pending.size()); }
  bool is_live(const Library* library) const { return live_libraries.contains(library); }
};

/// Never destroyed: other objects may be, after it.
State& state();
/// The contexts current on this thread, innermost last.
std::vector<const void*>& context_stack();
/// Of a primary context; -1 for any other.
int device_of(const void* context);

struct Entry {
  std::string_view name;
  void* address = nullptr;
  int since = 12000;  // CUDA version
};

/// The entries that tests call, to capture graphs.
const std::vector<Entry>& capture_entries();

/// Marks the calling thread as inside an entry.
class Busy {
 public:
  Busy();
  ~Busy();
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
};

/// What an entry returns before its body is run: a failure that the test asked for, a driver that has shut down, a
/// forked child. Logs the call. The lock must be held for `failure_of`, and must not be for `refusal`.
Result refusal(State& s);
Result failure_of(State& s, std::string_view name);

/// Runs an entry's body under the lock, unless it must fail. Every call is logged first.
template <class Body>
Result enter(const char* name, Body&& body) {
  const Busy busy;
  State& s = state();
  if (const Result refused = refusal(s); refused != librt::device::cuda::kSuccess) return refused;
  const std::scoped_lock lock(s.mutex);
  s.calls.emplace_back(name);
  const Result failed = failure_of(s, name);
  return failed != librt::device::cuda::kSuccess ? failed : body(s);
}

/// As enter(), for entries that need a current context.
template <class Body>
Result enter_with_context(const char* name, Body&& body) {
  return enter(name, [&](State& s) -> Result {
    return context_stack().empty() ? librt::device::cuda::kInvalidContext : body(s);
  });
}

/// As enter_with_context(), for entries that may not be called while any stream is captured: the capture is spoilt.
template <class Body>
Result enter_outside_capture(const char* name, Body&& body) {
  return enter_with_context(name, [&](State& s) -> Result {
    if (!s.is_capturing()) return body(s);
    for (Stream* stream : s.streams) stream->is_invalidated = stream->is_capturing;
    return librt::device::cuda::kStreamCaptureUnsupported;
  });
}

}  // namespace fake_cuda
