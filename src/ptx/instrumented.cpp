#include "src/ptx/instrumented.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/ptx/grid.hpp"
#include "src/ptx/sanitizer_map.hpp"
#include "src/ptx/taint_instrument.hpp"
#include "src/ptx/taint_map.hpp"

namespace librt::ptx {
namespace {

Defect defect_of(Fault fault) {
  switch (fault) {
    case Fault::out_of_bounds:
      return Defect::out_of_bounds;
    case Fault::misaligned:
      return Defect::misaligned;
    case Fault::illegal_sync:
      return Defect::illegal_sync;
    case Fault::deadlock:
      return Defect::deadlock;
    case Fault::trap:
      return Defect::trap;
    default:
      return Defect::instruction_limit;
  }
}

SanitizerFinding finding_of(const MachineError& error, std::string_view entry) {
  SanitizerFinding finding;
  finding.defect = defect_of(error.fault());
  if (error.place() != nullptr)
    finding.at = *error.place();
  else
    finding.at.kernel = entry;
  if (error.accessed()) {
    finding.address = error.accessed()->address;
    finding.memory = error.accessed()->memory;
  }
  finding.what = error.what();
  return finding;
}

/// Runs the grid; an error on the way becomes the last finding.
template <class MakeInstrument>
void run(const LaunchContext& context, MakeInstrument make_instrument, InstrumentedReport& report) {
  GridRunner runner(context, std::move(make_instrument));
  try {
    runner.run();
  } catch (const MachineError& error) {
    report.completed = false;
    report.defects.push_back(finding_of(error, context.kernel->name));
  }
  report.stats = runner.stats();
}

}  // namespace

InstrumentedReport launch_instrumented(const Module& module, Memory& memory, TaintMap* taint_map,
                                       SanitizerMap* sanitizer_map, std::string_view entry,
                                       std::span<const std::byte> params, const LaunchOptions& options,
                                       const TaintOptions& taint) {
  if ((taint_map != nullptr && taint_map->impl().memory != &memory) ||
      (sanitizer_map != nullptr && sanitizer_map->impl().memory != &memory))
    throw MachineError(Fault::launch, fmt::format("launch of '{}': a map is that of another memory", entry));
  LaunchOptions used = options;
  if (sanitizer_map != nullptr) used.threads = 1;
  const LaunchContext context = prepare_launch(module, memory, entry, params, used);
  InstrumentedReport report;
  TaintFindings findings;
  if (taint_map != nullptr) {
    taint_map->impl().cover_allocations();
    run(
        context, [&] { return TaintInstrument(taint_map->impl(), taint, findings); }, report);
  } else {
    run(
        context, [] { return NoInstrument{}; }, report);
  }
  report.taint = findings.take();
  return report;
}

}  // namespace librt::ptx
