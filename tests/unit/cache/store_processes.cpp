// Several processes and threads on one directory.
#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "src/cache/store.hpp"
#include "tests/unit/cache/sample.hpp"

using namespace librt;

namespace {

/// An entry all of whose bytes tell who wrote it: parts of two would show.
cache::Entry entry_of(const test::Sample& sample, int writer) {
  const auto letter = static_cast<char>('a' + writer);
  cache::Entry entry = sample.entry;
  entry.cubin.assign(60000, static_cast<std::byte>(letter));
  entry.ptx.assign(50000, letter);
  entry.source.assign(100, letter);
  return entry;
}

bool is_whole(const test::Sample& sample, const cache::Entry& entry, int writers) {
  for (int writer = 0; writer < writers; ++writer) {
    if (test::same(entry, entry_of(sample, writer))) return true;
  }
  return false;
}

pid_t start(const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) ::_exit(body());
  return child;
}

constexpr int kWriters = 4;

}  // namespace

TEST_CASE("four processes publish and find one key", "[cache][processes]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  std::vector<pid_t> children;
  for (int writer = 0; writer < kWriters; ++writer) {
    children.push_back(start([&, writer] {
      cache::Store store = fixture.open();
      for (int i = 0; i < 25; ++i) {
        if (!store.publish(sample.key, entry_of(sample, writer))) return 1;
        for (int reads = 0; reads < 4; ++reads) {
          const cache::EntryLookup found = store.find(sample.key, sample.key_document);
          if (!found.entry) return 2;
          if (!is_whole(sample, *found.entry, kWriters)) return 3;
        }
      }
      return fixture.warnings.empty() ? 0 : 4;
    }));
  }
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  CHECK(test::files_below(fixture.root + "/v1/objects") == 1);
  CHECK(test::files_below(fixture.temporaries()) == 0);
}

TEST_CASE("a process killed at any moment leaves a whole entry or none", "[cache][processes]") {
  test::StoreFixture fixture;
  const test::Sample sample;
  for (int round = 0; round < 12; ++round) {
    const pid_t child = start([&] {
      cache::Store store = fixture.open();
      for (int writer = 0;; writer = (writer + 1) % kWriters) store.publish(sample.key, entry_of(sample, writer));
      return 0;
    });
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(3000 + 733 * round);
    while (std::chrono::steady_clock::now() < end) {
      const cache::EntryLookup found = fixture.store.find(sample.key, sample.key_document);
      if (found.corrupt || (found.entry && !is_whole(sample, *found.entry, kWriters))) FAIL("half an entry");
    }
    ::kill(child, SIGKILL);
    REQUIRE(::waitpid(child, nullptr, 0) == child);
    for (const cache::StoredFile& file : fixture.store.scan()) CHECK(file.finding == cache::Finding::ok);
  }
  CHECK(fixture.warnings.empty());
  fixture.store.clear();
  CHECK(test::files_below(fixture.root + "/v1/objects") == 0);
  CHECK(test::files_below(fixture.temporaries()) == 0);  // what the killed left is gone too
}

TEST_CASE("threads share one store", "[cache][processes]") {
  test::TempDir directory;
  std::atomic<int> warnings{0};
  cache::Store store(directory / "cache", util::Log([&](LogLevel, std::string_view) { ++warnings; }, LogLevel::warn),
                     {});
  const test::Sample sample;
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < kWriters; ++writer) {
      threads.emplace_back([&, writer] {
        for (int i = 0; i < 10; ++i) {
          if (!store.publish(sample.key, entry_of(sample, writer))) ++wrong;
          const cache::EntryLookup found = store.find(sample.key, sample.key_document);
          if (!found.entry || !is_whole(sample, *found.entry, kWriters)) ++wrong;
        }
      });
    }
  }
  CHECK(wrong == 0);
  CHECK(warnings == 0);
}
