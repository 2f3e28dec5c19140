#include "src/cache/probe.hpp"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "tests/support/temp_dir.hpp"

namespace librt::cache {
namespace {

/// Locks as some file systems have them.
class OddLocks : public IoOps {
 public:
  explicit OddLocks(int error) : error_(error) {}
  int flock(int, int) override {
    if (error_ == 0) return 0;  // always granted
    errno = error_;
    return -1;
  }

 private:
  int error_;
};

TEST_CASE("A directory that can be written and locked is found so, and left as it was", "[cache]") {
  const test::TempDir directory;
  const Probe found = probe(directory / "");
  CHECK_FALSE(found.file_system.empty());
  CHECK(found.write_problem.empty());
  CHECK(found.lock_problem.empty());
  CHECK(std::filesystem::is_empty(directory / ""));
}

TEST_CASE("A directory that does not exist has no file system", "[cache]") {
  const test::TempDir directory;
  const Probe found = probe(directory / "none");
  CHECK(found.file_system.empty());
  CHECK_FALSE(found.write_problem.empty());
}

TEST_CASE("Locks that do not work are found out", "[cache]") {
  const test::TempDir directory;
  OddLocks none(ENOLCK);
  CHECK_THAT(probe(directory / "", none).lock_problem, Catch::StartsWith("flock: "));
  OddLocks generous(0);
  CHECK(probe(directory / "", generous).lock_problem == "flock gives one lock to two at once");
  CHECK(std::filesystem::is_empty(directory / ""));
}

}  // namespace
}  // namespace librt::cache
