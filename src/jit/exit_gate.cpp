#include "src/jit/exit_gate.hpp"

#include <librt/error.hpp>

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>

#include "src/util/per_process.hpp"

namespace librt::jit {
namespace {

// A compile takes a second or two; several on a busy core more. Whoever does not come back by then is not waited for.
constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kPause{1};
// NVRTC 13.0 registers 5 handlers in its first compiles, in each of which it calls back about 50 times.
constexpr int kMostRegistrations = 256;

struct Gate {
  int compiles = 0;
  int loads = 0;
  bool closed = false;
  bool has_compiled = false;  // NVRTC has registered what it registers in its first compile
};

/// Never destroyed: threads come here while the process exits. A forked child starts with none under way.
util::PerProcess<Gate>& gate() {
  static util::PerProcess<Gate>& one = *new util::PerProcess<Gate>;
  return one;
}

thread_local int calls_of_this_thread = 0;

std::atomic<int> under_way{0};  // beside the Gate, for a fork's child, which cannot lock its parent's
std::atomic<bool> forked_in_a_call{false};

[[maybe_unused]] const int asks_at_fork = ::pthread_atfork(nullptr, nullptr, [] {
  if (under_way.exchange(0) != 0) forked_in_a_call = true;
});

/// Until `is_done`, but not for ever.
template <class IsDone>
void wait_until(const IsDone& is_done) noexcept {
  if (calls_of_this_thread != 0) return;  // it would wait for itself
  try {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!is_done(*gate().lock()) && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(kPause);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): then it does not wait
  }
}

void close_gate() noexcept {
  wait_until([](Gate& gate) {
    gate.closed = true;
    return gate.compiles + gate.loads == 0;
  });
}

struct EndOfThread {
  ~EndOfThread() {
    wait_until([](const Gate& gate) { return gate.loads == 0 && (gate.has_compiled || gate.compiles == 0); });
  }
};

}  // namespace

NvrtcCall::NvrtcCall(Kind kind) : kind_(kind) {
  const auto entered = gate().lock();
  if (entered->closed) throw Error(ErrorCode::compile_failed, "the process is exiting: nothing is compiled any more");
  if (forked_in_a_call) {
    throw Error(ErrorCode::compile_failed,
                "this process was forked while another thread was in NVRTC, which cannot be used in it: fork before "
                "that or afterwards, exec, or prewarm the cache");
  }
  ++under_way;
  ++(kind_ == Kind::load ? entered->loads : entered->compiles);
  ++calls_of_this_thread;
}

NvrtcCall::~NvrtcCall() {
  const auto left = gate().lock();
  --under_way;
  --(kind_ == Kind::load ? left->loads : left->compiles);
  if (kind_ == Kind::compile) left->has_compiled = true;
  --calls_of_this_thread;
}

bool waited_for_at_exit() noexcept {
  return gate().lock()->closed;
}

void wait_for_nvrtc_at_exit() noexcept {
  static std::atomic<int> registrations{0};
  if (registrations.load() >= kMostRegistrations || registrations.fetch_add(1) >= kMostRegistrations) return;
  std::atexit(close_gate);
}

void wait_for_load_at_exit() noexcept {
  static const bool registered = std::atexit(close_gate) == 0;  // before a load that has not begun
  static_cast<void>(registered);
  static thread_local const EndOfThread end;
  static_cast<void>(end);
}

namespace {

// For the thread that loads librt, which is the one that returns from main where librt is linked.
[[maybe_unused]] const bool main_waits = (wait_for_load_at_exit(), true);

}  // namespace

}  // namespace librt::jit
