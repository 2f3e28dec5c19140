// Forked children: the CUDA driver does not survive a fork, everything else does.
#include <catch2/catch.hpp>

#include <atomic>
#include <optional>
#include <thread>

#include "tests/runtime/fixture.hpp"
#include "tests/support/in_child.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt::test {
namespace {

/// Empty if `call` throws no_device with words about the fork.
template <class Call>
std::string refused_for_the_fork(const char* what, const Call& call) {
  const auto thrown = thrown_by(call);
  if (!thrown) return fmt::format("{} was not refused; ", what);
  const bool is_clear = thrown->code == ErrorCode::no_device && thrown->what.find("fork") != std::string::npos &&
                        thrown->what.find("exec") != std::string::npos;
  return is_clear ? "" : fmt::format("{}: {} {}; ", what, to_string(thrown->code), thrown->what);
}

const Spec kOther = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 8};

}  // namespace

TEST_CASE("a child of a process that uses a GPU is told why it cannot", "[runtime][fork]") {
  reset_fake();
  const Batch batch = small_batch();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  const GqaLaunch launch(runtime, batch, split_plan(kernel, batch));
  CHECK(in_child([&] {
          std::string wrong;
          wrong += refused_for_the_fork("get from memory", [&] { (void)runtime.get(kGqa); });
          wrong += refused_for_the_fork("get of a new spec", [&] { (void)runtime.get(kOther); });
          wrong += refused_for_the_fork("prepare", [&] { (void)runtime.prepare(std::vector<Spec>{kOther}); });
          wrong += refused_for_the_fork("allocate", [&] { (void)runtime.allocate(16); });
          wrong += refused_for_the_fork("synchronize", [&] { runtime.synchronize(); });
          wrong += refused_for_the_fork("stage", [&] { launch.stage(kernel); });
          wrong += refused_for_the_fork("launch", [&] { launch.enqueue(kernel); });
          wrong += refused_for_the_fork("download", [&] { (void)launch.download(runtime, batch); });
          if (fake_cuda::calls_after_fork() != 0) wrong += "the driver was called; ";
          if (runtime.stats().compiled != 0) wrong += "something was compiled in vain; ";
          // One of the child's own meets the driver's own refusal.
          Runtime own(cuda_options());
          wrong += refused_for_the_fork("a new Runtime", [&] { (void)own.get(kGqa); });
          return wrong;
        }) == "");
  // Nothing of it reached the parent.
  CHECK_NOTHROW(launch.enqueue(kernel));
}

TEST_CASE("a child destroys what it inherited without a driver call", "[runtime][fork]") {
  reset_fake();
  std::optional<Runtime> runtime(cuda_options());
  std::optional<Kernel> kernel = runtime->get(kGqa);
  std::optional<Buffer> buffer = runtime->allocate(64);
  CHECK(in_child([&] {
          kernel.reset();
          buffer.reset();
          runtime.reset();
          return fake_cuda::calls_after_fork() == 0 ? "" : "the driver was called";
        }) == "");
  CHECK(fake_cuda::outstanding().libraries == 2);
  CHECK(fake_cuda::outstanding().allocations == 1);
}

TEST_CASE("a child of a process that never touched the GPU uses it", "[runtime][fork]") {
  reset_fake();
  Runtime runtime(cuda_options());
  CHECK(in_child([&] {
          whole_flow(runtime);
          return fake_cuda::launches().size() == 2 ? "" : "nothing was launched";
        }) == "");
  CHECK_NOTHROW(whole_flow(runtime));  // as does the parent, afterwards
}

TEST_CASE("a child may compile and use the virtual device", "[runtime][fork]") {
  reset_fake();
  const TempDir cache;
  Runtime gpu(cuda_options());
  (void)gpu.get(kGqa);
  Runtime before(cuda_options("virtual", cache.path()));
  whole_flow(before);
  CHECK(in_child([&] {
          whole_flow(before);
          Runtime fresh(cuda_options("virtual", cache.path()));
          whole_flow(fresh);
          return gpu.compile(kGqa, parse_arch("sm_80")).cubin.empty() ? "no cubin" : "";
        }) == "");
}

TEST_CASE("no fork deadlocks, whatever the parent's threads are doing", "[runtime][fork]") {
  if (!can_fork_while_threads_allocate()) return;
  reset_fake();
  Runtime runtime(cuda_options());
  Runtime virtual_device(cuda_options("virtual"));
  whole_flow(runtime);
  whole_flow(virtual_device);
  std::atomic<bool> done{false};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!done) whole_flow(runtime);
    });
  }
  threads.emplace_back([&] {
    // Opens devices and loads kernels all the time: their locks are held at some of the forks.
    while (!done) {
      Runtime fresh(cuda_options());
      whole_flow(fresh);
      (void)runtime.load(kGqa, runtime.get(kGqa).artifact());
    }
  });
  for (int i = 0; i < 40; ++i) {
    INFO("fork " << i);
    CHECK(in_child([&] {
            std::string wrong = refused_for_the_fork("get", [&] { (void)runtime.get(kGqa); });
            wrong += refused_for_the_fork("get of a new spec", [&] { (void)runtime.get(kOther); });
            whole_flow(virtual_device);
            Runtime fresh(cuda_options("virtual"));
            whole_flow(fresh);
            return wrong;
          }) == "");
  }
  done = true;
}

}  // namespace librt::test
