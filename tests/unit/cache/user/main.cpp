// A process that uses a cache with the fake compiler, for tests that need several.
//   cache_user ROOT COMPILE_MS VARIANT MAX_BYTES FIRST COUNT ROUNDS
// asks for the keys FIRST .. FIRST + COUNT - 1, ROUNDS times, each round with an empty memory. It begins when ROOT.go
// exists. Prints the number of compiles; ends with 0 if each answer was right.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/unit/cache/fake_compiler.hpp"

namespace {

using namespace librt;

/// Locks as on a file system that has none, and locks that hold nobody back.
struct WithoutLocks : cache::IoOps {
  explicit WithoutLocks(bool pretend_to_lock) : pretend(pretend_to_lock) {}
  int flock(int, int) override {
    if (pretend) return 0;
    errno = ENOLCK;
    return -1;
  }
  bool pretend;
};

int use(char** arguments) {
  const std::string root = arguments[1];
  const std::string variant = arguments[3];
  const int first = std::atoi(arguments[5]);
  const int count = std::atoi(arguments[6]);
  const int rounds = std::atoi(arguments[7]);
  WithoutLocks without_locks(variant == "pretend");
  cache::TiersOptions options{.root = root, .lock_timeout = std::chrono::seconds(20)};
  options.store.max_bytes = std::strtoull(arguments[4], nullptr, 10);
  options.store.fsync = false;
  if (variant != "locks") options.store.io = &without_locks;
  const auto cache = test::open_fake(options, util::Log([](LogLevel, std::string_view) {}, LogLevel::error));
  test::FakeCompiler compiler{.duration = std::chrono::milliseconds(std::atoi(arguments[2]))};
  while (::access((root + ".go").c_str(), F_OK) != 0) ::usleep(500);
  int wrong = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int number = first; number < first + count; ++number) {
      const test::FakeRequest request(number);
      const auto got = cache->get(request.request(), compiler.of(request));
      wrong += request.is(*got.value) ? 0 : 1;
    }
    cache->drop_memory();
  }
  std::printf("%d\n", compiler.calls.load());
  std::fflush(stdout);
  std::exit(wrong == 0 ? 0 : 1);  // with the cache still open: its statistics are written all the same
}

}  // namespace

int main(int argc, char** argv) {
  return argc == 8 ? use(argv) : 2;
}
