// What the kernels are judged on when the instruments themselves are under test: small batches, each of which brings
// one kind of mistake to light, and for each all the things that must not matter.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/contract/tainted_run.hpp"

namespace librt::test {

using RunKernels = std::function<TaintedRun(MachineKernels&, const MachineOptions&)>;

/// The same scenario, where something that must not matter holds other bits.
struct Variant {
  std::string what;
  RunKernels run;
  /// Empty if no bit of what must not change has changed.
  std::function<std::string(const Result& before, const Result& after)> change;
};

struct Scenario {
  Spec spec;
  RunKernels run;  ///< padding in the KV cache holds zeros
  /// Empty if the result is what the reference says.
  std::function<std::string(const Result&)> difference;
  std::vector<Variant> variants;
};

/// By name; the names are the same for every spec.
/// @param spec with pages of 4 tokens
std::map<std::string, Scenario> scenarios(const Spec& spec);

}  // namespace librt::test
