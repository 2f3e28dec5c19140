#include "src/ptx/sanitizer.hpp"

#include <fmt/format.h>

#include "src/ptx/instrumented.hpp"

namespace librt::ptx {

std::string_view to_string(Defect defect) noexcept {
  switch (defect) {
    case Defect::out_of_bounds:
      return "out of bounds";
    case Defect::misaligned:
      return "misaligned";
    case Defect::illegal_sync:
      return "illegal sync";
    case Defect::deadlock:
      return "deadlock";
    case Defect::trap:
      return "trap";
    case Defect::instruction_limit:
      return "instruction limit";
    case Defect::uninitialised_register:
      return "uninitialised register";
    case Defect::uninitialised_memory:
      return "uninitialised memory";
    case Defect::race:
      return "race";
    case Defect::copy_in_flight:
      return "copy in flight";
  }
  return "unknown";
}

std::string to_string(const SanitizerFinding& finding) {
  // The message of a fault names the place itself.
  if (finding.defect <= Defect::instruction_limit)
    return fmt::format("{}: {}", to_string(finding.defect), finding.what);
  return fmt::format("{}: kernel '{}', {}: {}", to_string(finding.defect), finding.at.kernel, to_string(finding.at),
                     finding.what);
}

SanitizerReport launch_checked(const Module& module, Memory& memory, SanitizerMap& map, std::string_view entry,
                               std::span<const std::byte> params, const LaunchOptions& options) {
  InstrumentedReport report = launch_instrumented(module, memory, nullptr, &map, entry, params, options);
  return {report.stats, report.completed, std::move(report.defects)};
}

}  // namespace librt::ptx
