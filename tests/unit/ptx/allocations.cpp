// What a long life of one memory costs: counted, not timed.
#include <sys/resource.h>

#include <string>

#include "src/ptx/memory.hpp"
#include "tests/support/in_child.hpp"
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {

TEST_CASE("100,000 allocations that come and go leave the bookkeeping as it was", "[ptx][allocations]") {
  Memory memory;
  const std::uint64_t stays = memory.allocate(64, "stays");
  std::uint64_t last = stays;
  std::size_t most = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t address = memory.allocate(64, "comes and goes");
    REQUIRE(address > last);  // never used again
    last = address;
    memory.release(address);
    most = std::max(most, memory.records());
  }
  CHECK(most <= 512);
  CHECK(memory.bytes_in_use() == 64);
  int visited = 0;
  memory.impl().table.for_each([&](std::uint64_t, const Allocation&) { ++visited; });
  CHECK(visited == 1);  // what a launch looks at
}

TEST_CASE("Many that live at once cost their own records", "[ptx][allocations]") {
  Memory memory;
  std::vector<std::uint64_t> addresses;
  for (int i = 0; i < 10'000; ++i) addresses.push_back(memory.allocate(8, "each"));
  CHECK(memory.records() <= 10'000 + 512);
  for (const std::uint64_t address : addresses) memory.release(address);
  CHECK(memory.records() <= 512);
}

TEST_CASE("A use after release is named while it is remembered", "[ptx][allocations]") {
  Memory memory;
  const std::uint64_t gone = memory.allocate(16, "gone");
  memory.release(gone);
  CHECK(memory.impl().describe(gone + 4) == "it is byte 4 of released 'gone' (16 bytes)");
  for (int i = 0; i < 1000; ++i) memory.release(memory.allocate(1, "later"));
  CHECK(memory.impl().describe(gone + 4) == "it is in memory that was released long ago");
  CHECK(memory.impl().describe(std::uint64_t{1} << 60).find("past the end of released 'later'") != std::string::npos);
}

namespace {

std::string refusal_of(std::size_t bytes) {
  Memory memory;
  try {
    memory.allocate(bytes, "all");
    return "accepted";
  } catch (const MachineError& error) {
    return error.fault() == Fault::launch ? error.what() : "another fault";
  }
}

}  // namespace

TEST_CASE("What no address reaches is refused by name", "[ptx][allocations]") {
  CHECK(refusal_of((std::size_t{1} << 36) + 1) ==
        "allocation 'all': 68719476737 bytes, at most 68719476736 are possible");
}

TEST_CASE("Memory that the host does not have is refused by name", "[ptx][allocations]") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  WARN("skipped: a sanitizer needs address space without a limit");
#else
  CHECK(librt::test::in_child([] {
          const rlimit limit{std::size_t{8} << 30, std::size_t{8} << 30};
          return ::setrlimit(RLIMIT_AS, &limit) == 0 ? refusal_of(std::size_t{1} << 35) : std::string("no limit");
        }) == "allocation 'all': the host has no memory for it");
#endif
}

}  // namespace librt::ptx::test
