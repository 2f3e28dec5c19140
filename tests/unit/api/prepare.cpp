#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::TempDir;
using test::thrown_by;

Spec gqa(int head_dim, int page_size) {
  return GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = head_dim, .page_size = page_size};
}

/// A Runtime on the virtual device that notes which threads compiled, and holds each of them until so many have.
class Prepared {
 public:
  Runtime runtime(std::size_t awaited = 1) {
    Options options;
    options.cache_dir = dir_.path();
    options.device = "virtual";
    options.log_level = LogLevel::info;
    options.log = [this, awaited](LogLevel, std::string_view message) {
      if (!message.starts_with("compiled")) return;
      std::unique_lock lock(mutex_);
      compilers_.insert(std::this_thread::get_id());
      arrived_.notify_all();
      arrived_.wait_for(lock, std::chrono::minutes(2), [&] { return compilers_.size() >= awaited; });
    };
    return Runtime(options);
  }
  std::size_t compilers() {
    const std::lock_guard lock(mutex_);
    return compilers_.size();
  }

 private:
  TempDir dir_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::set<std::thread::id> compilers_;
};

TEST_CASE("What is prepared comes from memory") {
  Prepared prepared;
  Runtime rt = prepared.runtime();
  const Kernel kernel = rt.get(gqa(64, 4));
  CHECK(rt.stats().compiled == 2);  // the decode and the merge
  CHECK(rt.stats().memory_hits == 0);
  CHECK(&rt.get(gqa(64, 4)).artifact() == &kernel.artifact());
  CHECK(rt.stats().memory_hits == 1);
  CHECK(rt.stats().lookups == 3);
}

TEST_CASE("Several specs are prepared side by side, in their order, each once") {
  Prepared prepared;
  Runtime rt = prepared.runtime(2);
  const std::vector<Spec> specs = {gqa(64, 4), gqa(80, 4), gqa(64, 4), gqa(64, 8)};
  const std::vector<Kernel> kernels = rt.prepare(specs, 2);
  REQUIRE(kernels.size() == specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    CHECK(kernels[i].spec().get("head_dim") == specs[i].get("head_dim"));
    CHECK(kernels[i].spec().get("page_size") == specs[i].get("page_size"));
  }
  CHECK(&kernels[0].artifact() == &kernels[2].artifact());
  CHECK(prepared.compilers() == 2);
  const std::uint64_t compiled = rt.stats().compiled;
  const std::uint64_t hits = rt.stats().memory_hits;
  for (const Spec& spec : specs) rt.get(spec);
  CHECK(rt.stats().compiled == compiled);
  CHECK(rt.stats().memory_hits == hits + specs.size());
  CHECK(rt.prepare(std::vector<Spec>{}).empty());
}

TEST_CASE("One thread prepares on the caller's thread alone") {
  Prepared prepared;
  Runtime rt = prepared.runtime();
  rt.prepare(std::vector<Spec>{gqa(64, 4), gqa(64, 8)}, 1);
  CHECK(prepared.compilers() == 1);
}

TEST_CASE("A spec that cannot be prepared keeps no other from it") {
  Prepared prepared;
  Runtime rt = prepared.runtime();
  const auto thrown = thrown_by([&] { rt.prepare(std::vector<Spec>{gqa(64, 4), gqa(65, 4), gqa(66, 4), gqa(64, 8)}); });
  REQUIRE(thrown);
  CHECK(thrown->code == ErrorCode::invalid_argument);
  CHECK(thrown->what.find("65") != std::string::npos);  // the first in order, whichever failed first
  const std::uint64_t hits = rt.stats().memory_hits;
  rt.get(gqa(64, 4));
  rt.get(gqa(64, 8));
  CHECK(rt.stats().memory_hits == hits + 2);
}

}  // namespace
}  // namespace librt
