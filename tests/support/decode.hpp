// Runs batches through the public interface, on the virtual device unless a test says otherwise, and judges the result.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <vector>

#include "tests/support/reference.hpp"

namespace librt::test {

/// Options of every Runtime that the contract tests make: the disk cache of this build, so that a second run compiles
/// nothing, and silence below errors.
Options virtual_options(const std::string& device = "virtual");

/// One Runtime a device for the whole process: tests that use the same spec share its kernel.
Runtime& shared_runtime(const std::string& device = "virtual");

struct Result {
  std::vector<Bits> out;       ///< [batch, qo_heads, out_dim]
  std::vector<float> lse;      ///< [batch, qo_heads]
  std::vector<float> probe{};  ///< what an edited kernel wrote behind the LSE; bits of NaN where it wrote nothing
};

struct Launch {
  int split_pages = 0;
  const Batch* planned_for = nullptr;  ///< the lengths that the plan is made from; null = the batch's own
  std::size_t probe_floats = 0;        ///< room behind the LSE, for kernels that were edited to show what they compute
};

/// One decode. out, lse and the workspace hold NaN before the launch. Throws std::runtime_error if a number of out or
/// lse was not written.
Result decode(Runtime& runtime, const Batch& batch, const Launch& launch = {});

/// The rows of one request.
Result rows_of(const Batch& batch, const Result& result, int request);

/// Empty if `actual` lies within the tolerance of `expected`; else what is wrong, at the first place. The tolerance:
/// 2e-2 (bf16) or 3e-3 (f16) of the row's largest number for out, 1e-3 * max(1, |LSE|) for the LSE. A NaN must be a
/// NaN; where an Inf is expected, a NaN passes too (a weight may underflow, and 0 * Inf is NaN), a finite number never.
std::string difference(const Batch& batch, const Result& actual, const Expected& expected);

/// Empty if all bits of out and lse are equal; else the first place where they are not.
std::string bit_difference(const Batch& batch, const Result& one, const Result& other);

/// Empty if decode(batch) is right and if any poison in the padding leaves its bits as they are.
std::string poison_difference(Runtime& runtime, const Batch& batch, const Launch& launch = {}, Operands operands = {});

}  // namespace librt::test
