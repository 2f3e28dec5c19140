// What the tests of labels share: an instruction (or a few) run by one warp, with values and labels of its inputs given
// per lane, and the labels of its outputs and the findings as results.
#pragma once

#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "src/ptx/taint.hpp"
#include "tests/unit/ptx/ptx_harness.hpp"

namespace librt::ptx::test {

/// Of one operand: one entry for all lanes, or 32. The labels of byte n of the operand are byte n of the number.
struct Tainted {
  Words values;
  Words labels;
};

struct Tracked {
  std::vector<Words> labels;  ///< [output][lane]
  std::vector<TaintFinding> findings;
};

/// `code`, `inputs` and `outputs` as in Form; labels of a predicate count if any byte of its number has them, and those
/// of a predicate output stand in the lowest byte.
Tracked track(const Form& form, const std::vector<Tainted>& operands, std::uint32_t shared_bytes = 0);

/// Labels of the only output in lane 0.
Word labels_after(const Form& form, const std::vector<Tainted>& operands);

/// Kinds of the findings, for comparison.
std::vector<std::string> kinds(const Tracked& tracked);

}  // namespace librt::ptx::test
