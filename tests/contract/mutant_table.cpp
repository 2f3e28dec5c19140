#include "tests/contract/mutant_table.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <exception>
#include <fstream>
#include <stdexcept>

#include "src/util/for_each_index.hpp"
#include "tests/contract/specs.hpp"
#include "tests/support/decode.hpp"
#include "tests/support/kernel_folders.hpp"

namespace librt::test {
namespace {

Instrument instrument_named(const std::string& name) {
  for (const Instrument instrument : kInstruments)
    if (to_string(instrument) == name) return instrument;
  throw std::runtime_error(fmt::format("caught_by is \"{}\", allowed: reference, poison, taint, sanitizer", name));
}

bool is_part_of(const std::string& file, const std::string& kernel) {
  return !file.ends_with("_decode.cuh") || file.ends_with('/' + kernel + "_decode.cuh");
}

void judge_row(Row& row, std::span<const Instrument> instruments) {
  Options options = virtual_options();
  options.cache_mode = CacheMode::off;
  options.source_edits = {row.mutant.edit};
  try {
    Runtime runtime(options);
    const Scenario& scenario = all_scenarios(row.kernel).at(row.mutant.batch);
    MachineKernels kernels(runtime, scenario.spec);
    for (const Instrument instrument : instruments) row.judgements[instrument] = judge(instrument, kernels, scenario);
  } catch (const Error& error) {
    row.error = fmt::format("{}\n{}", error.what(), error.detail());
  } catch (const std::exception& error) {
    row.error = error.what();
  }
}

std::string cell(const Row& row, Instrument instrument) {
  const auto found = row.judgements.find(instrument);
  if (found == row.judgements.end()) return "?";
  switch (found->second.verdict) {
    case Verdict::silent:
      return "-";
    case Verdict::caught:
      return row.mutant.caught_by == instrument ? "CAUGHT" : "caught";
    case Verdict::stopped:
      return "stopped";
  }
  return "?";
}

}  // namespace

std::vector<Mutant> read_mutants() {
  std::vector<Mutant> mutants;
  for (const std::string& name : files_of_kernels("mutants.json")) {
    std::ifstream file(name);
    for (const auto& entry : nlohmann::json::parse(file)) {
      if (!entry.contains("batch")) continue;  // of a kernel that has tests of its own
      mutants.push_back({.name = entry.at("name"),
                         .edit = {.file = entry.at("file"), .find = entry.at("find"), .replace = entry.at("replace")},
                         .batch = entry.at("batch"),
                         .caught_by = instrument_named(entry.at("caught_by")),
                         .leaks_padding = entry.value("leaks_padding", false)});
    }
  }
  return mutants;
}

const std::map<std::string, Scenario>& all_scenarios(const std::string& kernel) {
  static const std::map<std::string, Scenario> of_gqa = scenarios(gqa(4)), of_mla = scenarios(mla(4));
  return kernel == "gqa" ? of_gqa : of_mla;
}

bool Row::only_caught_by(Instrument instrument) const {
  return std::ranges::all_of(judgements, [&](const auto& judgement) {
    return judgement.second.verdict == (judgement.first == instrument ? Verdict::caught : Verdict::silent);
  });
}

std::vector<Row> rows_for(const std::vector<Mutant>& mutants) {
  std::vector<Row> rows;
  for (const Mutant& mutant : mutants)
    for (const char* kernel : kKernelNames)
      if (is_part_of(mutant.edit.file, kernel)) rows.push_back({.mutant = mutant, .kernel = kernel});
  return rows;
}

void judge_all(std::vector<Row>& rows, std::span<const Instrument> instruments) {
  util::for_each_index(rows.size(), 2, [&](std::size_t i) { judge_row(rows[i], instruments); });
}

std::string table(const std::vector<Row>& rows) {
  std::size_t longest_name = 0, longest_batch = 0;
  for (const Row& row : rows) {
    longest_name = std::max(longest_name, row.mutant.name.size());
    longest_batch = std::max(longest_batch, row.mutant.batch.size());
  }
  std::string text = fmt::format("{:{}}  kernel  {:{}}", "mutant", longest_name, "batch", longest_batch);
  for (const Instrument instrument : kInstruments) text += fmt::format("  {:9}", to_string(instrument));
  for (const Row& row : rows) {
    text +=
        fmt::format("\n{:{}}  {:6}  {:{}}", row.mutant.name, longest_name, row.kernel, row.mutant.batch, longest_batch);
    for (const Instrument instrument : kInstruments) text += fmt::format("  {:9}", cell(row, instrument));
    text.erase(text.find_last_not_of(' ') + 1);
  }
  return text +
         "\nCAUGHT: by the instrument that the mutant is there for. stopped: the machine ended the launch, which only\n"
         "the sanitizer reports, before the instrument had anything to say. -: nothing seen.\n";
}

}  // namespace librt::test
