// Staging on a device that makes an asynchronous copy when somebody waits for it, and no sooner.
#include <catch2/catch.hpp>

#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "kernels/work.h"
#include "tests/runtime/fixture.hpp"
#include "tests/support/captured_stream.hpp"

namespace librt::test {
namespace {

constexpr PlanLimits kLimits{.max_batch = 4, .max_pages = 64, .split_pages = 1};

/// Work items of the plan that each of the launches so far would find.
std::vector<int> items_seen() {
  std::vector<int> seen;
  for (const fake_cuda::Launch& launch : fake_cuda::launches()) {
    PlanHeader header{};
    if (launch.watched.size() == sizeof(header)) std::memcpy(&header, launch.watched.data(), sizeof(header));
    seen.push_back(header.num_items);
  }
  return seen;
}

Plan plan_of(const Kernel& kernel, const std::vector<int>& kv_lens) {
  const Batch batch = make_batch(kGqa, {.kv_lens = kv_lens});
  return kernel.plan({batch.kv_indptr, batch.kv_last_page_len}, {.limits = kLimits});
}

}  // namespace

TEST_CASE("two stages and two Plans that are gone: each launch finds its own", "[runtime][stage]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  const Batch batch = small_batch();
  const GqaLaunch launch(runtime, batch, plan_of(kernel, {5, 0, 13}));
  fake_cuda::watch(reinterpret_cast<std::uintptr_t>(launch.workspace().data()), sizeof(PlanHeader));
  for (const auto& kv_lens : {std::vector{5, 0, 13}, std::vector{9, 1, 21, 4}}) {
    std::optional<Plan> plan = plan_of(kernel, kv_lens);
    kernel.stage(*plan, launch.workspace());
    plan.reset();
    launch.enqueue(kernel);
  }
  CHECK(fake_cuda::async_copies().size() == 2);
  runtime.synchronize();
  // 2 + 1 + 4 and 3 + 1 + 6 + 1 pages of 4 tokens; a decode and a merge each.
  CHECK(items_seen() == std::vector{7, 7, 11, 11});
}

TEST_CASE("a captured launch finds the plan that was staged last", "[runtime][stage]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  const Batch batch = small_batch();
  const GqaLaunch launch(runtime, batch, plan_of(kernel, {5, 0, 13}));
  fake_cuda::watch(reinterpret_cast<std::uintptr_t>(launch.workspace().data()), sizeof(PlanHeader));
  CapturedStream stream(0);
  stream.capture([&] { launch.enqueue(kernel, stream.handle()); });
  for (const auto& kv_lens : {std::vector{5, 0, 13}, std::vector{9, 1, 21, 4}, std::vector{0, 0, 0, 1}}) {
    kernel.stage(plan_of(kernel, kv_lens), launch.workspace(), stream.handle());
    stream.replay();
  }
  CHECK(items_seen() == std::vector{7, 7, 11, 11, 4, 4});
}

TEST_CASE("a stage in a capture is refused", "[runtime][stage]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  const Batch batch = small_batch();
  const GqaLaunch launch(runtime, batch, plan_of(kernel, {5, 0, 13}));
  launch.stage(kernel);
  runtime.synchronize();
  CapturedStream stream(0);
  std::string what;
  stream.capture([&] {
    try {
      launch.stage(kernel, stream.handle());
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::invalid_argument);
      what = error.what();
    }
  });
  CHECK(what.find("stream is being captured") != std::string::npos);
  CHECK(fake_cuda::async_copies().size() == 1);
}

TEST_CASE("pinned memory is used again, and waited for only when all of it is in use", "[runtime][stage]") {
  constexpr int kBuffers = 8;
  reset_fake();
  {
    Runtime runtime(cuda_options());
    const Kernel kernel = runtime.get(kGqa);
    const Batch batch = small_batch();
    const GqaLaunch launch(runtime, batch, plan_of(kernel, {5, 0, 13}));
    for (int i = 0; i < 100; ++i) {
      launch.stage(kernel);
      runtime.synchronize();
    }
    CHECK(fake_cuda::outstanding().pinned == 1);
    for (int i = 0; i < kBuffers; ++i) launch.stage(kernel);
    CHECK(kernel.stage_waits() == 0);
    for (int i = 0; i < 3; ++i) launch.stage(kernel);
    CHECK(kernel.stage_waits() == 3);
    CHECK(fake_cuda::outstanding().pinned == kBuffers);
    // A larger plan than before takes the place of a smaller one's memory.
    runtime.synchronize();
    const Plan large = kernel.plan({std::vector<std::int32_t>{0, 4000}, std::vector<std::int32_t>{4}},
                                   {.limits = {.max_batch = 1, .max_pages = 4000, .split_pages = 1}});
    const Buffer workspace = runtime.allocate(large.workspace_bytes());
    kernel.stage(large, workspace);
    CHECK(fake_cuda::outstanding().pinned == kBuffers);
  }
  CHECK(fake_cuda::outstanding().pinned == 0);
  CHECK(fake_cuda::outstanding().events == 0);
}

TEST_CASE("threads stage side by side, each its own plan", "[runtime][stage][threads]") {
  constexpr int kThreads = 4, kTimes = 50;
  reset_fake();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  std::vector<Plan> plans;
  std::vector<Buffer> workspaces;
  for (int thread = 0; thread < kThreads; ++thread) {
    plans.push_back(plan_of(kernel, std::vector<int>(static_cast<std::size_t>(thread) + 1, 5)));
    workspaces.push_back(runtime.allocate(plans.back().workspace_bytes()));
  }
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < kTimes; ++i) kernel.stage(plans[thread], workspaces[thread]);
      });
    }
  }
  runtime.synchronize();
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    PlanHeader header{};
    runtime.download(std::as_writable_bytes(std::span(&header, 1)), workspaces[thread]);
    CHECK(header.num_items == plans[thread].num_work_items());
  }
  CHECK(fake_cuda::async_copies().size() == kThreads * kTimes);
}

TEST_CASE("a stage refuses a workspace that is too small, misaligned or none", "[runtime][stage]") {
  reset_fake();
  Runtime runtime(cuda_options());
  const Kernel kernel = runtime.get(kGqa);
  const Plan plan = plan_of(kernel, {5, 0, 13});
  const Buffer memory = runtime.allocate(plan.workspace_bytes());
  const auto refused = [&](const Workspace& workspace) {
    try {
      kernel.stage(plan, workspace);
    } catch (const Error& error) {
      return error.code() == ErrorCode::invalid_argument ? std::string(error.what()) : "another code";
    }
    return std::string("accepted");
  };
  CHECK(refused({}).find("workspace is null") == 0);
  CHECK(refused({memory.as<char>() + 16, plan.workspace_bytes()}).find("workspace") == 0);
  CHECK(refused({memory.data(), plan.workspace_bytes() - 1}).find("workspace has") == 0);
  CHECK(refused(memory) == "accepted");
}

}  // namespace librt::test
