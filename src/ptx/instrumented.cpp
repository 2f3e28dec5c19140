#include "src/ptx/instrumented.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "src/ptx/grid.hpp"
#include "src/ptx/sanitizer_instrument.hpp"
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

/// Two instruments as one.
template <class First, class Second>
class Both {
 public:
  static constexpr bool kWatches = true;

  Both(First first, Second second) : first_(std::move(first)), second_(std::move(second)) {}
  void start_cta(Cta& cta) {
    first_.start_cta(cta);
    second_.start_cta(cta);
  }
  void end_cta(Cta& cta) {
    first_.end_cta(cta);
    second_.end_cta(cta);
  }
  void guard(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t mask) {
    first_.guard(warp, in, group, mask);
    second_.guard(warp, in, group, mask);
  }
  void before(Warp& warp, const Instruction& in, std::uint32_t mask) {
    first_.before(warp, in, mask);
    second_.before(warp, in, mask);
  }
  void after(Warp& warp, const Instruction& in, std::uint32_t mask) {
    first_.after(warp, in, mask);
    second_.after(warp, in, mask);
  }
  void branch(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t taken) {
    first_.branch(warp, in, group, taken);
    second_.branch(warp, in, group, taken);
  }
  void barrier_arrive(Warp& warp, const Instruction& in, std::uint32_t mask, unsigned barrier) {
    first_.barrier_arrive(warp, in, mask, barrier);
    second_.barrier_arrive(warp, in, mask, barrier);
  }
  void barrier_release(Cta& cta, unsigned barrier) {
    first_.barrier_release(cta, barrier);
    second_.barrier_release(cta, barrier);
  }

 private:
  First first_;
  Second second_;
};

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
  if (taint_map != nullptr) taint_map->impl().cover_allocations();
  if (sanitizer_map != nullptr)
    sanitizer_map->impl().cover_allocations();
  else
    memory.impl().note_all_written();
  const auto make_taint = [&] { return TaintInstrument(taint_map->impl(), taint, findings); };
  const auto make_sanitizer = [&] { return SanitizerInstrument(sanitizer_map->impl(), report.defects); };
  const auto make_both = [&] { return Both(make_sanitizer(), make_taint()); };
  if (taint_map != nullptr && sanitizer_map != nullptr)
    run(context, make_both, report);
  else if (taint_map != nullptr)
    run(context, make_taint, report);
  else if (sanitizer_map != nullptr)
    run(context, make_sanitizer, report);
  else
    run(
        context, [] { return NoInstrument{}; }, report);
  report.taint = findings.take();
  return report;
}

}  // namespace librt::ptx
