// Which batches a proof runs: shape classes of one specialization.
#pragma once

#include <librt/librt.hpp>

#include <string>
#include <vector>

#include "kernels/shared_memory.h"

namespace librt::tool {

/// 7 requests and the padding of all are the 8 labels of the PTX machine.
inline constexpr int kMostRequests = 7;

enum class ProofLayout { nhd, hnd, gaps };  ///< gaps: behind heads, tokens and pages

struct ProofCase {
  std::string name{};              ///< what the batch is there for
  std::vector<int> kv_lens{};      ///< as the host plans them
  std::vector<int> device_lens{};  ///< as the device reads them, with as many pages or more; empty = kv_lens
  ProofLayout layout = ProofLayout::nhd;
  int split_pages = 0;    ///< as PlanOptions::split_pages
  int shared_pages = 0;   ///< leading pages that requests have in common, as far as they have so many
  int most_kv_heads = 0;  ///< 0 = all of the spec; else this many stand for the others
};

tiles::Tile tile_of(const Spec& spec, const Arch& arch);

/// Lengths around every boundary of pages, tiles, stages and splits; every length modulo tile and page; splits of
/// several sizes, shared pages, layouts, and lengths that are shorter or longer on the device than in the plan.
std::vector<ProofCase> proof_cases(const Spec& spec, const Arch& arch);

}  // namespace librt::tool
