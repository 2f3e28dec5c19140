// From a spec to what is compiled, and the launch facts that follow.
#pragma once

#include <librt/kernel_kind.hpp>
#include <librt/options.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <optional>
#include <string>
#include <vector>

#include "src/jit/program.hpp"
#include "src/util/trust.hpp"

namespace librt::api {

struct Specialized {
  jit::Specialization program;
  int block_threads = 0;
  int shared_bytes = 0;  // dynamic, a block
};

/// Throws Error: invalid_argument for what is no arch, unsupported for one that no machine and no compiler helps.
void require_arch(const Arch& arch);

/// What the kernel's description gives. Throws Error: invalid_argument for a spec that validate() refuses, and where
/// the description gives what no GPU can have; unsupported for an arch that the kernel does not run on.
KernelVariant variant_of(const Spec& spec, const Arch& arch);

/// Specs that differ in what reaches no program share an entry. Throws as variant_of().
Specialized specialize(const Spec& spec, const Arch& arch);

/// The files of the kernels that were added.
std::vector<jit::SourceFile> added_files();
/// Of librt's kernels, or of the directory that the options name, and of those that were added until now.
jit::KernelSources load_sources(const std::string& kernels_dir, const std::vector<SourceEdit>& edits,
                                util::Trust trust);

/// The spec of the kernel that joins the parts of a split request; nothing where no request is split. Throws
/// Error(invalid_argument) where that kernel could not be launched with what this one is given.
std::optional<Spec> merge_of(const Spec& spec);

}  // namespace librt::api
