// Functions of the user's that call the Runtime while it calls them.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/kernels_copy.hpp"
#include "tests/support/scoped_env.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt {
namespace {

using test::TempDir;
using test::thrown_by;

const Spec kSpec = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
const Spec kOther = GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = 8};
const Arch kPtx{80, 0, true};

/// Calls the Runtime from each message, but not from messages of these calls.
class Caller {
 public:
  using Call = std::function<void(Runtime&)>;

  Caller(const TempDir& dir, Call call) : call_(std::move(call)) {
    options_.cache_dir = dir.path();
    options_.device = "virtual";
    options_.log_level = LogLevel::debug;
    options_.log = [this](LogLevel, std::string_view) {
      ++messages_;
      if (runtime_ == nullptr || busy_) return;
      busy_ = true;
      try {
        call_(*runtime_);
        ++served_;
      } catch (const Error& error) {
        refused_.emplace_back(error.what());
      }
      busy_ = false;
    };
  }

  Options& options() { return options_; }
  /// The Runtime's own call, in which the messages come.
  template <class Own>
  void run(const Own& own) {
    Runtime runtime(options_);
    runtime_ = &runtime;
    own(runtime);
    runtime_ = nullptr;
  }

  int messages() const { return messages_; }
  int served() const { return served_; }
  const std::vector<std::string>& refused() const { return refused_; }

 private:
  Call call_;
  Options options_;
  Runtime* runtime_ = nullptr;
  bool busy_ = false;
  int messages_ = 0, served_ = 0;
  std::vector<std::string> refused_;
};

TEST_CASE("A log callback may call the Runtime", "[callbacks]") {
  const TempDir dir;
  const std::vector<Caller::Call> calls = {
      [](Runtime& rt) { rt.explain(kSpec, kPtx); },  [](Runtime& rt) { rt.get(kOther); },
      [](Runtime& rt) { rt.compile(kOther, kPtx); }, [](Runtime& rt) { rt.stats(); },
      [](Runtime& rt) { rt.flush_stats(); },         [](Runtime& rt) { rt.drop_memory_cache(); },
      [](Runtime& rt) { (void)rt.device(); },        [](Runtime& rt) { (void)rt.allocate(16); },
  };
  for (std::size_t i = 0; i < calls.size(); ++i) {
    INFO("call " << i);
    const TempDir own;
    Caller caller(own, calls[i]);
    caller.run([](Runtime& rt) { rt.get(kSpec); });
    CHECK(caller.messages() > 0);
    CHECK(caller.served() > 0);
    CHECK(caller.refused().empty());
  }
}

TEST_CASE("A log callback that asks for the kernel that is being made is told so", "[callbacks]") {
  for (const bool compiles : {false, true}) {
    const TempDir dir;
    Caller caller(dir, [&](Runtime& rt) {
      if (compiles) {
        rt.compile(kSpec, kPtx);
      } else {
        rt.get(kSpec);
      }
    });
    caller.options().log_level = LogLevel::info;  // what is said once the making has begun
    caller.run([&](Runtime& rt) {
      if (compiles) {
        CHECK(rt.compile(kSpec, kPtx).kernel == "gqa_decode");
      } else {
        CHECK(to_string(rt.get(kSpec).spec()) == to_string(kSpec));
      }
    });
    REQUIRE_FALSE(caller.refused().empty());
    CHECK(caller.refused()[0].find("gqa_decode dtype=bf16") == 0);
    CHECK(caller.refused()[0].find("would wait for ever") != std::string::npos);
  }
}

TEST_CASE("A thread that is cancelled in a log callback ends after it", "[callbacks]") {
  static std::atomic<bool> went_on;
  went_on = false;
  pthread_t thread{};
  REQUIRE(::pthread_create(
              &thread, nullptr,
              [](void*) -> void* {
                Options options;
                options.device = "virtual";
                options.cache_mode = CacheMode::off;
                options.log_level = LogLevel::debug;
                options.log = [](LogLevel, std::string_view) {
                  if (went_on) return;
                  ::pthread_cancel(::pthread_self());
                  ::usleep(1);  // where a thread is cancelled
                  went_on = true;
                };
                Runtime(options).explain(kSpec, kPtx);
                ::pthread_testcancel();
                return nullptr;
              },
              nullptr) == 0);
  void* result = nullptr;
  REQUIRE(::pthread_join(thread, &result) == 0);
  CHECK(went_on);
  CHECK(result == PTHREAD_CANCELED);
}

TEST_CASE("No lock of the cache is held while a log callback runs", "[callbacks]") {
  const TempDir dir;
  std::uint64_t waits = 0;
  Caller caller(dir, [&](Runtime&) {
    Options options;
    options.cache_dir = dir.path();
    options.lock_timeout_ms = 100;
    options.log = [](LogLevel, std::string_view) {};
    Runtime other(options);
    other.compile(kSpec, kPtx);
    waits += other.stats().lock_waits + other.stats().lock_degraded;
  });
  caller.options().log_level = LogLevel::info;  // what is said of a compile, not before it
  caller.run([](Runtime& rt) { rt.compile(kSpec, kPtx); });
  CHECK(caller.served() > 0);
  CHECK(waits == 0);
}

TEST_CASE("What is said of a kernels directory and of a record is said without a lock", "[callbacks]") {
  const TempDir dir;
  Caller caller(dir, [](Runtime& rt) {
    rt.explain(kSpec, kPtx);
    rt.get(kOther);
  });
  // One at a time: what the first message's callback asks for says the rest while no callback answers.
  SECTION("a kernels directory") {
    test::write_kernels(dir / "kernels");
    const test::ScopedEnv variable("LIBRT_KERNELS_DIR", (dir / "kernels").c_str());
    caller.options().kernels_dir = dir / "kernels";
    caller.options().log_level = LogLevel::warn;
    caller.run([](Runtime& rt) { rt.get(kSpec); });
    CHECK(caller.served() == 1);
  }
  SECTION("a record") {
    caller.options().record = dir / "absent/record.json";
    caller.run([](Runtime& rt) { rt.get(kSpec); });
    CHECK(caller.served() > 0);
  }
}

struct Mine {};  // no std::exception

TEST_CASE("A progress callback may call the Runtime, and what it throws arrives as it was thrown", "[callbacks]") {
  const TempDir dir;
  Options options;
  options.cache_dir = dir.path();
  options.device = "virtual";
  options.log = [](LogLevel, std::string_view) {};
  Runtime rt(options);
  int calls = 0;
  const auto progress = [&](std::size_t, std::size_t, const PrewarmProgram& program) {
    ++calls;
    rt.compile(program.spec, program.arch);
    CHECK(rt.prewarm({}, std::vector{kPtx}).requested == 0);
  };
  CHECK(rt.prewarm(std::vector{kSpec}, std::vector{kPtx}, {.threads = 2, .progress = progress}).complete());
  CHECK(calls == 2);
  const auto throws = [&](const auto& thrown) {
    rt.prewarm(std::vector{kSpec}, std::vector{kPtx},
               {.progress = [&](std::size_t, std::size_t, const PrewarmProgram&) { throw thrown; }});
  };
  CHECK_THROWS_AS(throws(Mine{}), Mine);
  CHECK_THROWS_AS(throws(std::out_of_range("mine")), std::out_of_range);
  CHECK_THROWS_AS(throws(Error(ErrorCode::no_nvrtc, "mine")), Error);
}

}  // namespace
}  // namespace librt
