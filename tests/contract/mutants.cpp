// Are the instruments strong enough, and is each of them needed? Each edit of kernels/*/mutants.json makes a kernel
// wrong in one way; it runs on the batch that it names under every instrument, and the one that it names must notice.
// The kernels as they are must pass on every batch. What came out is printed as a table.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "tests/contract/instruments.hpp"
#include "tests/contract/mutant_table.hpp"
#include "tests/contract/specs.hpp"

namespace librt::test {
namespace {

std::string text_of(const std::string& file) {
  std::ifstream stream(LIBRT_SOURCE_DIR "/kernels/" + file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST_CASE("Each mutant edits one place of the kernels as they are", "[mutants]") {
  const std::vector<Mutant> mutants = read_mutants();
  REQUIRE(mutants.size() >= 18);
  std::set<std::string> names;
  for (const Mutant& mutant : mutants) {
    INFO(mutant.name);
    CHECK(names.insert(mutant.name).second);
    CHECK(all_scenarios("gqa").contains(mutant.batch));
    const std::string text = text_of(mutant.edit.file);
    const std::size_t at = text.find(mutant.edit.find);
    REQUIRE(at != std::string::npos);
    CHECK(text.find(mutant.edit.find, at + 1) == std::string::npos);
  }
}

TEST_CASE("No instrument reports the kernels as they are", "[mutants]") {
  for (const std::string kernel : kKernelNames) {
    for (const auto& [name, scenario] : all_scenarios(kernel)) {
      MachineKernels kernels(shared_runtime(), scenario.spec);
      for (const Instrument instrument : kInstruments) {
        INFO(kernel << ", " << name << ", " << to_string(instrument));
        CHECK(judge(instrument, kernels, scenario).why == "");
      }
    }
  }
}

TEST_CASE("Every mutant is caught by the instrument that it names", "[mutants]") {
  std::vector<Row> rows = rows_for(read_mutants());
  judge_all(rows, kInstruments);
  std::cout << table(rows) << std::flush;
  for (const Row& row : rows) {
    INFO(row.mutant.name << " (" << row.kernel << ", " << row.mutant.batch << ")");
    REQUIRE(row.error == "");
    for (const auto& [instrument, judgement] : row.judgements)
      UNSCOPED_INFO(to_string(instrument) << ": " << judgement.why);
    CHECK(row.verdict(row.mutant.caught_by) == Verdict::caught);
    // The padding of a batch holds zeros where taint looks: labels tell, not values.
    if (row.mutant.leaks_padding) CHECK(row.verdict(Instrument::taint) == Verdict::caught);
  }
  for (const Instrument instrument : kInstruments) {
    INFO(to_string(instrument) << " is there for nothing: others catch whatever it catches");
    CHECK(std::ranges::any_of(rows, [&](const Row& row) { return row.only_caught_by(instrument); }));
  }
}

/// A mutant for each instrument that no other one sees.
struct Needed {
  Instrument instrument;
  const char* mutant;
};

constexpr Needed kNeeded[] = {
    {Instrument::reference, "one position too few is valid"},
    {Instrument::poison, "a NaN behind the end counts as a freed page"},
    {Instrument::taint, "the page id is clamped after the load, not the index before it"},
    {Instrument::sanitizer, "weights take the place of scores that are still read"},
};

TEST_CASE("Without any one instrument a mutant survives", "[mutants]") {
  const std::vector<Mutant> mutants = read_mutants();
  for (const auto& [instrument, name] : kNeeded) {
    const auto mutant = std::ranges::find(mutants, name, &Mutant::name);
    INFO(name << ", without " << to_string(instrument));
    REQUIRE(mutant != mutants.end());
    std::vector<Row> rows = rows_for({*mutant});
    std::vector<Instrument> others(kInstruments.begin(), kInstruments.end());
    std::erase(others, instrument);
    judge_all(rows, others);
    for (const Row& row : rows) {
      REQUIRE(row.error == "");
      for (const Instrument other : others) CHECK(row.verdict(other) == Verdict::silent);
    }
    judge_all(rows, std::array{instrument});
    for (const Row& row : rows) CHECK(row.verdict(instrument) == Verdict::caught);
  }
}

}  // namespace
}  // namespace librt::test
