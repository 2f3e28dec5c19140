// librt prove: no byte of padding reaches an output, whatever bits it holds.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>

#include "src/api/line_info.hpp"
#include "src/api/specialize.hpp"
#include "src/util/for_each_index.hpp"
#include "tools/librt/builtin_manifests.hpp"
#include "tools/librt/help_examples.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/proof.hpp"
#include "tools/librt/table.hpp"
#include "tools/librt/typed.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

struct ProveSettings {
  bool json = false;
  std::vector<std::string> words;
  std::vector<std::string> archs;
  std::string matrix;
  unsigned jobs = 0;
  std::size_t most_batches = 0;
};

struct Verdict {
  Spec spec;
  Arch arch;
  std::string same_ptx_as;  ///< the architecture that was run; empty = this one
  Proof proof;
};

/// What the machine executes: all of the PTX but the lines that name its version and target.
std::string executed_part(const Artifact& artifact) {
  std::string text;
  std::string_view rest = artifact.ptx;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size() - 1);
    const std::string_view line = rest.substr(0, end + 1);
    if (!line.starts_with(".version") && !line.starts_with(".target") && !line.starts_with("//")) text += line;
    rest.remove_prefix(end + 1);
  }
  return fmt::format("{} {} {}", artifact.block_threads, artifact.shared_bytes, text);
}

std::shared_ptr<const Artifact> with_text(const Artifact& artifact, std::string ptx) {
  Artifact copy = artifact;
  copy.ptx = std::move(ptx);
  return std::make_shared<const Artifact>(std::move(copy));
}

ProofArtifacts compile_with_lines(const Options& options, const Spec& spec, const ProofArtifacts& plain) {
  const Arch& arch = plain.decode->arch;
  return {
      with_text(*plain.decode, api::ptx_with_lines(options, api::specialize(spec, arch), *plain.decode)),
      with_text(*plain.merge, api::ptx_with_lines(options, api::specialize(*api::merge_of(spec), arch), *plain.merge)),
      plain.instruction_limit};
}

std::vector<Verdict> prove_spec(Runtime& runtime, const Spec& spec, const std::vector<Arch>& archs,
                                std::size_t most_batches, const Ran& ran) {
  std::vector<Verdict> verdicts;
  std::map<std::string, std::size_t> proven;  // by text
  std::size_t done = 0;                       // runs of the architectures before
  for (const Arch& arch : archs) {
    const auto merge = api::merge_of(spec);
    const ProofArtifacts artifacts{
        std::make_shared<const Artifact>(runtime.compile(spec, arch)),
        merge ? std::make_shared<const Artifact>(runtime.compile_merge(spec, arch)) : nullptr,
        runtime.options().virtual_instruction_limit};
    const std::string text =
        executed_part(*artifacts.decode) + (artifacts.merge ? executed_part(*artifacts.merge) : std::string());
    const auto [known, is_new] = proven.try_emplace(text, verdicts.size());
    if (is_new) {
      const auto with_lines = [&] { return compile_with_lines(runtime.options(), spec, artifacts); };
      const auto ran_more = [&](std::size_t runs) { ran(done + runs); };
      verdicts.push_back({spec, arch, "", prove(spec, artifacts, with_lines, most_batches, ran_more)});
    } else {
      Verdict same = verdicts[known->second];
      same.same_ptx_as = to_string(same.arch);
      same.arch = arch;
      verdicts.push_back(std::move(same));
    }
    ran(done += planned_runs(spec, arch, most_batches));
  }
  return verdicts;
}

/// Several specs at a time; the verdicts come in the order of the specs.
std::vector<Verdict> prove_all(Runtime& runtime, const Manifest& matrix, const ProveSettings& settings) {
  std::vector<std::vector<Verdict>> verdicts(matrix.specs.size());
  std::size_t all = 0;
  for (const Spec& spec : matrix.specs)
    for (const Arch& arch : matrix.archs) all += planned_runs(spec, arch, settings.most_batches);
  std::mutex mutex;
  std::size_t done = 0;
  // Of runs, since a single specialization may take minutes. Those of PTX that is the same are done at once.
  ProgressBar bar("compiling", all);
  util::for_each_index(matrix.specs.size(), settings.jobs, [&](std::size_t i) {
    const auto ran = [&, before = std::size_t{0}](std::size_t runs) mutable {
      const std::lock_guard lock(mutex);
      done += runs - std::exchange(before, runs);
      bar.show(done, fmt::format("runs of {}", to_string(matrix.specs[i])));
    };
    verdicts[i] = prove_spec(runtime, matrix.specs[i], matrix.archs, settings.most_batches, ran);
  });
  std::vector<Verdict> flat;
  for (auto& of_spec : verdicts) std::ranges::move(of_spec, std::back_inserter(flat));
  return flat;
}

Json to_json(const ProofFinding& finding) {
  return Json{{"what", finding.what},
              {"kind", finding.kind},
              {"kernel", finding.kernel},
              {"source", finding.source},
              {"instruction", finding.instruction},
              {"lane", finding.lane},
              {"warp", finding.warp},
              {"cta", {finding.cta.x, finding.cta.y, finding.cta.z}},
              {"origin", finding.origin},
              {"batch", finding.batch}};
}

Json to_json(const Verdict& verdict) {
  Json findings = Json::array();
  for (const ProofFinding& finding : verdict.proof.findings) findings.push_back(to_json(finding));
  Json json{{"spec", to_string(verdict.spec)},
            {"arch", to_string(verdict.arch)},
            {"status", findings.empty() ? "proven" : "refuted"},
            {"runs", verdict.same_ptx_as.empty() ? verdict.proof.runs : 0}};
  if (!verdict.same_ptx_as.empty()) json["same_ptx_as"] = verdict.same_ptx_as;
  json["findings"] = std::move(findings);
  return json;
}

std::string in_words(const Verdict& verdict) {
  const std::size_t columns = columns_of(Stream::out);
  const bool proven = verdict.proof.findings.empty();
  const std::string how = verdict.same_ptx_as.empty() ? fmt::format("{} runs", verdict.proof.runs)
                                                      : fmt::format("same PTX as {}", verdict.same_ptx_as);
  // What goes on below begins below the specialization.
  std::string text =
      table({{}, {}, {.fit = Fit::wrap}}, {{{proven ? "proven " : "REFUTED", proven ? Style::good : Style::bad},
                                            fmt::format("{:<8}", to_string(verdict.arch)),
                                            fmt::format("{}  ({})", to_string(verdict.spec), how)}});
  if (!verdict.same_ptx_as.empty()) return text;
  for (const ProofFinding& finding : verdict.proof.findings) {
    text += styled(Style::bad, paragraph("    " + finding.what, columns));
    text += paragraph("      batch: " + finding.batch, columns);
    if (!finding.origin.empty()) text += paragraph("      it comes from " + finding.origin, columns);
  }
  return text;
}

constexpr std::string_view kWhatAShareShows =
    "Proven for the batches that ran only, a share of all (--batches); without that option every length modulo tile "
    "and page is run. Trusted: ptxas, which makes the cubin of the PTX, and the hardware.";

constexpr std::string_view kWhatIsProven =
    "Proven: in these batches (every length modulo tile and page, the boundaries of pages, tiles, stages and splits, "
    "empty requests, shared pages, gaps between rows, lengths shorter or longer than planned) no bit pattern of the "
    "padding can "
    "reach out, the LSE, an address or a branch of this PTX; requests do not see each other; no race, no access out of "
    "bounds, no use of unwritten memory. Trusted: ptxas, which makes the cubin of the PTX, and the hardware.";

Manifest wanted_matrix(const ProveSettings& settings) {
  if (!settings.matrix.empty() && !settings.words.empty())
    throw UsageError("--matrix names a list of specializations; KERNEL names one: give one of them");
  Manifest matrix = settings.matrix.empty() ? kernel_matrix() : read_manifest(settings.matrix);
  if (!settings.words.empty()) matrix.specs = {typed_spec(settings.words)};
  // Only another kernel launches those that join parts, and they are proven with it.
  std::erase_if(matrix.specs, [](const Spec& spec) { return description(*spec.kind()).split == nullptr; });
  if (matrix.specs.empty()) {
    throw UsageError("nothing to prove: proofs are of kernels that take a plan, with what joins their parts");
  }
  matrix.archs =
      wanted_archs(settings.archs, matrix, settings.matrix.empty() ? "kernels/*/matrix.json" : settings.matrix);
  return matrix;
}

int prove_verb(const ProveSettings& settings) {
  const Manifest matrix = wanted_matrix(settings);
  Runtime runtime(options_from_environment());
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<Verdict> verdicts = prove_all(runtime, matrix, settings);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const auto refuted = std::ranges::count_if(verdicts, [](const Verdict& one) { return !one.proof.findings.empty(); });
  if (settings.json) {
    Json results = Json::array();
    for (const Verdict& verdict : verdicts) results.push_back(to_json(verdict));
    print_json(Json{{"results", std::move(results)}, {"seconds", seconds}});
  } else {
    std::uint64_t runs = 0, instructions = 0;
    for (const Verdict& verdict : verdicts) {
      print(in_words(verdict));
      if (!verdict.same_ptx_as.empty()) continue;
      runs += verdict.proof.runs;
      instructions += verdict.proof.warp_instructions;
    }
    const std::string_view what = refuted != 0                 ? std::string_view()
                                  : settings.most_batches != 0 ? kWhatAShareShows
                                                               : kWhatIsProven;
    print(
        paragraph(fmt::format("{} of {} proven, {} refuted, in {:.0f} s: {} runs, {:.1f} million warp instructions{}{}",
                              static_cast<std::ptrdiff_t>(verdicts.size()) - refuted, verdicts.size(), refuted, seconds,
                              runs, static_cast<double>(instructions) / 1e6, what.empty() ? "" : "\n", what),
                  prose_columns(Stream::out)));
  }
  return refuted == 0 ? kDone : kProblemFound;
}

}  // namespace

void add_prove(CLI::App& tool, int& exit_code) {
  auto settings = std::make_shared<ProveSettings>();
  CLI::App* const verb =
      add_verb(tool, "prove", "Prove on the virtual device that no padding reaches an output; needs no GPU",
               help::kProveExample, settings->json);
  verb->add_option("KERNEL", settings->words,
                   "One specialization, as for `librt compile`; without it all of kernels/*/matrix.json")
      ->type_name("key=value");
  verb->add_option("--arch", settings->archs,
                   "sm_XX[a|f], several with commas; default: those of kernels/*/matrix.json")
      ->delimiter(',')
      ->type_name("ARCH");
  verb->add_option("--matrix", settings->matrix, "Another manifest, see include/librt/manifest.hpp")->type_name("FILE");
  verb->add_option("-j,--jobs", settings->jobs, "Specializations at a time; default: one for each core")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  verb->add_option("--batches", settings->most_batches, "Only so many batches each, spread over all of them; 0 = all")
      ->check(CLI::Range(0, 1'000'000'000))
      ->type_name("N");
  verb->callback([settings, &exit_code] { exit_code = prove_verb(*settings); });
}

}  // namespace librt::tool
