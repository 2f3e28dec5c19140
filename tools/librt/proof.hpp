// Proves one specialization, or says what refutes it.
#pragma once

#include <librt/librt.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/librt/proof_bench.hpp"

namespace librt::tool {

struct Proof {
  std::uint64_t runs = 0;
  std::uint64_t warp_instructions = 0;
  std::vector<ProofFinding> findings;  ///< each kind at each instruction once; empty = proven
};

/// The decode and the merge compiled with line data; called when there is something to report.
using WithLines = std::function<ProofArtifacts()>;

/// Runs that it takes to prove one; what is found takes more.
std::size_t planned_runs(const Spec& spec, const Arch& arch, std::size_t most_cases = 0);

/// Told how many of the planned runs are done.
using Ran = std::function<void(std::size_t)>;

/// Runs every case of proof_cases(). A finding is run again with ever fewer labels, until its source is known.
/// @param with_lines empty = findings name no lines
/// @param most_cases only so many batches, spread over all of them; 0 = all
Proof prove(const Spec& spec, const ProofArtifacts& artifacts, const WithLines& with_lines, std::size_t most_cases = 0,
            const Ran& ran = {});

/// Runs the batch under labels and sanitizers and appends what is found, with its origin, to `findings`, unless it is
/// there already.
void prove_batch(ProofBench& bench, const ProofBatch& batch, int split_pages, std::vector<ProofFinding>& findings);

}  // namespace librt::tool
