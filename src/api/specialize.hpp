// From a spec to what is compiled: the Traits, the tile of the architecture, and the launch facts that follow.
#pragma once

#include <librt/spec.hpp>
#include <librt/types.hpp>

#include "src/jit/program.hpp"

namespace librt::api {

struct Specialized {
  jit::Specialization program;
  int block_threads = 0;
  int shared_bytes = 0;  // dynamic, a block
};

/// Throws Error: invalid_argument for what is no arch, unsupported for one that no machine and no compiler helps.
void require_tensor_cores(const Arch& arch);

/// Only what reaches the Traits is in it, so that specs that differ elsewhere (the number of heads) share an entry.
/// Throws Error(invalid_argument) for a spec that validate() refuses, Error(unsupported) for an arch without tiles.
Specialized specialize(const Spec& spec, const Arch& arch);
/// The kernel that merges the partial results of a spec's splits.
Specialized specialize_merge(const Spec& spec, const Arch& arch);

}  // namespace librt::api
