#include "tests/contract/instruments.hpp"

#include <utility>

namespace librt::test {
namespace {

MachineOptions with(bool labels, bool sanitizers) {
  // No launch of a scenario takes an eighth of it; a mutant that hangs ends there.
  return {.labels = labels, .sanitizers = sanitizers, .max_warp_instructions = std::uint64_t{1} << 20};
}

Judgement judgement(std::string complaint) {
  const Verdict verdict = complaint.empty() ? Verdict::silent : Verdict::caught;
  return {verdict, std::move(complaint)};
}

Judgement stopped(const TaintedRun& run) {
  return {Verdict::stopped, to_string(run.defects.back())};
}

Judgement by_reference(MachineKernels& kernels, const Scenario& scenario) {
  const TaintedRun run = scenario.run(kernels, with(false, false));
  return run.completed ? judgement(scenario.difference(run.result)) : stopped(run);
}

Judgement by_poison(MachineKernels& kernels, const Scenario& scenario) {
  const TaintedRun before = scenario.run(kernels, with(false, false));
  if (!before.completed) return stopped(before);
  for (const Variant& variant : scenario.variants) {
    const TaintedRun after = variant.run(kernels, with(false, false));
    const std::string change =
        after.completed ? variant.change(before.result, after.result) : to_string(after.defects.back());
    if (!change.empty()) return judgement(variant.what + ": " + change);
  }
  return {};
}

Judgement by_taint(MachineKernels& kernels, const Scenario& scenario) {
  const TaintedRun run = scenario.run(kernels, with(true, false));
  const std::string complaint = taint_complaint(run);
  return complaint.empty() && !run.completed ? stopped(run) : judgement(complaint);
}

Judgement by_sanitizer(MachineKernels& kernels, const Scenario& scenario) {
  const TaintedRun run = scenario.run(kernels, with(false, true));
  return judgement(run.defects.empty() ? "" : to_string(run.defects.front()));
}

}  // namespace

std::string_view to_string(Instrument instrument) noexcept {
  switch (instrument) {
    case Instrument::reference:
      return "reference";
    case Instrument::poison:
      return "poison";
    case Instrument::taint:
      return "taint";
    case Instrument::sanitizer:
      return "sanitizer";
  }
  return "unknown";
}

Judgement judge(Instrument instrument, MachineKernels& kernels, const Scenario& scenario) {
  switch (instrument) {
    case Instrument::reference:
      return by_reference(kernels, scenario);
    case Instrument::poison:
      return by_poison(kernels, scenario);
    case Instrument::taint:
      return by_taint(kernels, scenario);
    case Instrument::sanitizer:
      return by_sanitizer(kernels, scenario);
  }
  return {};
}

}  // namespace librt::test
