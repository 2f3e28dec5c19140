#include "tools/librt/proof.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "tools/librt/proof_cases.hpp"

namespace librt::tool {
namespace {

constexpr std::uint32_t kSeed = 20;

bool same(const ProofFinding& a, const ProofFinding& b) {
  return a.kind == b.kind && a.kernel == b.kernel && a.instruction == b.instruction;
}

const ProofFinding* find_same(const std::vector<ProofFinding>& findings, const ProofFinding& wanted) {
  const auto found = std::ranges::find_if(findings, [&](const ProofFinding& one) { return same(one, wanted); });
  return found == findings.end() ? nullptr : &*found;
}

/// Half of the sources, then half of those that still give the finding, until one is left. What many sources give
/// together one of them gives alone, since labels unite; if a half is not enough all the same, there is no answer.
std::optional<std::size_t> origin_of(ProofBench& bench, const ProofBatch& batch, int split_pages, std::size_t sources,
                                     const ProofFinding& finding) {
  SourceWindow window{0, sources};
  while (window.end - window.begin > 1) {
    const std::size_t middle = window.begin + (window.end - window.begin) / 2;
    const auto gives = [&](SourceWindow half) {
      return find_same(bench.run(batch, split_pages, half).findings, finding) != nullptr;
    };
    if (gives({window.begin, middle}))
      window.end = middle;
    else if (gives({middle, window.end}))
      window.begin = middle;
    else
      return {};
  }
  return window.begin;
}

Spec with_heads(const Spec& spec, int most_kv_heads) {
  const auto with_kv_heads = description(*spec.kind()).with_kv_heads;
  return with_kv_heads == nullptr || most_kv_heads <= 0 ? spec : with_kv_heads(spec, most_kv_heads);
}

bool rows_differ(const ProofBatch& batch, const DecodeResult& one, const DecodeResult& other, int request) {
  const auto heads = static_cast<std::size_t>(batch.shape().heads);
  const std::size_t row = heads * static_cast<std::size_t>(batch.shape().out_dim);
  const auto b = static_cast<std::size_t>(request);
  const auto bits = [](float value) { return std::bit_cast<std::uint32_t>(value); };
  for (std::size_t i = b * row; i < (b + 1) * row; ++i)
    if (one.out[i] != other.out[i]) return true;
  for (std::size_t i = b * heads; batch.shape().has_lse && i < (b + 1) * heads; ++i)
    if (bits(one.lse[i]) != bits(other.lse[i])) return true;
  return false;
}

/// The requests whose data change in each round: any two requests are on different sides of some round.
std::vector<unsigned> isolation_rounds(int requests) {
  std::vector<unsigned> rounds;
  for (unsigned bit = 0; requests >> bit > 0 && requests > 1; ++bit) {
    for (const bool side : {false, true}) {
      unsigned changed = 0;
      for (int request = 0; request < requests; ++request)
        if (((static_cast<unsigned>(request) >> bit & 1U) != 0) == side) changed |= 1U << request;
      if (changed != 0 && std::popcount(changed) != requests) rounds.push_back(changed);
    }
  }
  return rounds;
}

/// Labels of other requests are followed through data only. That no request's control flow depends on another's data
/// is shown by running: the bits of one must not change when the data of the other do.
void check_isolation(ProofBench& bench, ProofBatch& batch, int split_pages, const DecodeResult& base,
                     std::vector<ProofFinding>& findings, const std::function<void()>& ran_one) {
  const int requests = batch.problem().batch;
  std::uint32_t seed = kSeed;
  for (const unsigned changed : isolation_rounds(requests)) {
    ProofBatch other(batch);
    other.change_requests(changed, ++seed);
    const DecodeResult result = bench.run_plain(other, split_pages);
    ran_one();
    for (int request = 0; request < requests; ++request) {
      if ((changed >> request & 1U) != 0 || !rows_differ(batch, base, result, request)) continue;
      findings.push_back({.what = fmt::format("the bits of request {} change with the data of other requests "
                                              "(those changed: {:#b})",
                                              request, changed),
                          .kind = "isolation",
                          .kernel = "decode"});
      return;
    }
  }
}

/// Of many cases every so many, so that they are spread over all of them.
std::size_t step_over(const std::vector<ProofCase>& cases, std::size_t most_cases) {
  return most_cases == 0 ? 1 : (cases.size() + most_cases - 1) / most_cases;
}

std::size_t runs_of(const ProofCase& one) {
  return 1 + isolation_rounds(static_cast<int>(one.kv_lens.size())).size();
}

}  // namespace

std::size_t planned_runs(const Spec& spec, const Arch& arch, std::size_t most_cases) {
  const std::vector<ProofCase> cases = proof_cases(spec, arch);
  std::size_t runs = 0;
  for (std::size_t i = 0; i < cases.size(); i += step_over(cases, most_cases)) runs += runs_of(cases[i]);
  return runs;
}

void prove_batch(ProofBench& bench, const ProofBatch& batch, int split_pages, std::vector<ProofFinding>& findings) {
  const ProofRun run = bench.run(batch, split_pages);
  for (const ProofFinding& found : run.findings) {
    if (find_same(findings, found) != nullptr) continue;
    findings.push_back(found);
    if (found.labels == 0) continue;
    if (const auto origin = origin_of(bench, batch, split_pages, run.sources, found))
      findings.back().origin = bench.describe_source(batch, *origin);
  }
}

Proof prove(const Spec& spec, const ProofArtifacts& artifacts, const WithLines& with_lines, std::size_t most_cases,
            const Ran& ran) {
  Proof proof;
  std::size_t done = 0;  // of the planned runs
  const auto tell = [&](std::size_t now) {
    done = now;
    if (ran) ran(done);
  };
  auto bench = std::make_unique<ProofBench>(artifacts);
  bool has_lines = !with_lines;
  const std::vector<ProofCase> cases = proof_cases(spec, artifacts.decode->arch);
  for (std::size_t i = 0; i < cases.size(); i += step_over(cases, most_cases)) {
    const ProofCase& one = cases[i];
    const std::size_t done_with_case = done + runs_of(one);
    ProofBatch batch(with_heads(spec, one.most_kv_heads), one, kSeed + static_cast<std::uint32_t>(i));
    const std::size_t known = proof.findings.size();
    ProofRun run = bench->run(batch, one.split_pages);
    tell(done + 1);
    if (!run.findings.empty()) {
      if (!has_lines) {
        // From here on, so that a finding names the line and its origin is looked for in the same module.
        proof.runs += bench->runs();
        proof.warp_instructions += bench->warp_instructions();
        bench = std::make_unique<ProofBench>(with_lines());
        has_lines = true;
      }
      prove_batch(*bench, batch, one.split_pages, proof.findings);
    } else {
      check_isolation(*bench, batch, one.split_pages, run.result, proof.findings, [&] { tell(done + 1); });
    }
    tell(done_with_case);  // where something is found, rounds are left out
    for (std::size_t n = known; n < proof.findings.size(); ++n) {
      proof.findings[n].batch = fmt::format(
          "{}: kv_lens [{}]{}", one.name, fmt::join(one.kv_lens, ", "),
          one.split_pages == 0 || one.split_pages > 65536 ? "" : fmt::format(", splits of {} pages", one.split_pages));
    }
  }
  proof.runs += bench->runs();
  proof.warp_instructions += bench->warp_instructions();
  return proof;
}

}  // namespace librt::tool
