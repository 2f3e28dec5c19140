#include "src/ptx/taint.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/ptx/grid.hpp"
#include "src/ptx/taint_instrument.hpp"

namespace librt::ptx {

std::string_view to_string(Dependence dependence) noexcept {
  switch (dependence) {
    case Dependence::control_flow:
      return "control flow";
    case Dependence::address:
      return "an address";
    case Dependence::store_guard:
      return "whether memory is written";
    case Dependence::output:
      return "an output";
  }
  return "unknown";
}

std::string to_string(const TaintFinding& finding) {
  return fmt::format("kernel '{}', {}: {} depends on labels {:#04x}", finding.at.kernel, to_string(finding.at),
                     to_string(finding.dependence), finding.labels);
}

void TaintFindings::add(std::uint64_t cta, std::size_t instruction, TaintFinding finding) {
  const std::lock_guard lock(mutex_);
  const auto [found, inserted] = entries_.try_emplace({instruction, finding.dependence}, Entry{cta, finding});
  if (!inserted && cta < found->second.cta) found->second = {cta, std::move(finding)};
}

std::vector<TaintFinding> TaintFindings::take() {
  std::vector<Entry> entries;
  for (auto& [key, entry] : entries_) entries.push_back(std::move(entry));
  entries_.clear();
  std::ranges::stable_sort(entries, std::less{}, &Entry::cta);
  std::vector<TaintFinding> findings;
  for (Entry& entry : entries) findings.push_back(std::move(entry.finding));
  return findings;
}

TaintReport launch_tainted(const Module& module, Memory& memory, TaintMap& map, std::string_view entry,
                           std::span<const std::byte> params, const LaunchOptions& options, const TaintOptions& taint) {
  if (map.impl().memory != &memory)
    throw MachineError(Fault::launch, fmt::format("launch of '{}': the labels are those of another memory", entry));
  const LaunchContext context = prepare_launch(module, memory, entry, params, options);
  map.impl().cover_allocations();
  memory.impl().note_all_written();
  TaintFindings findings;
  TaintReport report;
  report.stats = GridRunner(context, [&] { return TaintInstrument(map.impl(), taint, findings); }).run();
  report.findings = findings.take();
  return report;
}

}  // namespace librt::ptx
