#include "src/jit/exit_gate.hpp"

#include <librt/error.hpp>

#include <catch2/catch.hpp>

#include <future>
#include <string>
#include <thread>

#include "tests/support/in_child.hpp"

using namespace librt;
using jit::NvrtcCall;

namespace {

/// "" if NVRTC may be called in a child that is forked now, else why not.
std::string refusal_in_child() {
  return test::in_child([]() -> std::string {
    try {
      const NvrtcCall call(NvrtcCall::Kind::compile);
      return "";
    } catch (const Error& error) {
      return std::string(to_string(error.code())) + ": " + error.what();
    }
  });
}

}  // namespace

TEST_CASE("A child that was forked while a thread was in NVRTC does not call it", "[jit][fork]") {
  if (!test::can_fork_with_threads()) return;
  for (const auto kind : {NvrtcCall::Kind::compile, NvrtcCall::Kind::load}) {
    std::promise<void> entered, leave;
    std::thread thread([&] {
      const NvrtcCall call(kind);
      entered.set_value();
      leave.get_future().wait();
    });
    entered.get_future().wait();
    const std::string during = refusal_in_child();
    leave.set_value();
    thread.join();
    CHECK_THAT(during, Catch::StartsWith("compile_failed: this process was forked while another thread was in NVRTC"));
    CHECK(refusal_in_child() == "");
  }
}
