// Decode attention in double precision, as plainly as it can be written. It reads valid positions only.
#pragma once

#include <vector>

#include "tools/librt/decode.hpp"

namespace librt::tool {

struct ReferenceResult {
  std::vector<double> out;  ///< [batch, heads, out_dim]
  std::vector<double> lse;  ///< [batch, heads], natural log
};

ReferenceResult reference_decode(const DecodeProblem& problem);

/// Largest |out - reference| of a row over the row's largest |reference|, the worst row; NaN counts as infinite.
double max_relative_error(const DecodeProblem& problem, const DecodeResult& result, const ReferenceResult& reference);

}  // namespace librt::tool
