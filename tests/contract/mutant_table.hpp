// Mutants under instruments, and the table that comes of it.
#pragma once

#include <librt/librt.hpp>

#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tests/contract/instruments.hpp"

namespace librt::test {

/// An entry of a kernels/*/mutants.json.
struct Mutant {
  std::string name;
  SourceEdit edit;
  std::string batch;  ///< a name of scenarios()
  Instrument caught_by;
  /// Padding reaches a result or a decision, so labels must show it although the padding of the batch holds zeros.
  bool leaks_padding = false;
};

/// Throws std::runtime_error if an entry names an instrument that there is not.
std::vector<Mutant> read_mutants();

/// "gqa" and "mla".
inline constexpr std::array kKernelNames{"gqa", "mla"};
const std::map<std::string, Scenario>& all_scenarios(const std::string& kernel);

/// One mutant in one kernel.
struct Row {
  Mutant mutant;
  std::string kernel;
  std::map<Instrument, Judgement> judgements{};
  std::string error{};  ///< why the mutant could not be judged: it does not compile

  Verdict verdict(Instrument instrument) const { return judgements.at(instrument).verdict; }
  /// Whether this instrument reports it and all others are silent.
  bool only_caught_by(Instrument instrument) const;
};

/// The kernels that the mutant's file is part of, each once.
std::vector<Row> rows_for(const std::vector<Mutant>& mutants);

/// Fills in the judgements of these instruments; two rows at a time.
void judge_all(std::vector<Row>& rows, std::span<const Instrument> instruments);

/// Plain text, one line for each row.
std::string table(const std::vector<Row>& rows);

}  // namespace librt::test
