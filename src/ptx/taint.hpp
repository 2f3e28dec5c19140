// Follows marked bytes of global memory through a kernel. A label is one of 8 bits; every byte of registers, shared,
// local and global memory has a set of them. A result has the labels of every byte that it is computed from, whatever
// the values are: 0 * x is labelled as x is. So where no label arrives, no pattern of the marked bytes could have.
//
// Labels follow data. Where the way through the code, an address, or whether something is stored depends on a watched
// label, there is a finding; with no findings the labels that arrive tell the whole dependence on watched bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/ptx/machine.hpp"

namespace librt::ptx {

/// A set of labels: bit n is label n.
using Labels = std::uint8_t;

/// Labels of the global memory of one Memory, kept over launches. Bytes have none until they are given some; what a
/// kernel writes has the labels of what it was computed from. Writes of the host change no labels.
class TaintMap {
 public:
  explicit TaintMap(Memory& memory);
  ~TaintMap();
  TaintMap(const TaintMap&) = delete;
  TaintMap& operator=(const TaintMap&) = delete;

  /// All throw MachineError(out_of_bounds) unless the whole range lies in one allocation.
  /// The labels of these bytes become `labels`; 0 takes all away.
  void label(std::uint64_t address, std::uint64_t bytes, Labels labels);
  /// These labels must not be stored to these bytes: a store that does is a finding (Dependence::output).
  void forbid(std::uint64_t address, std::uint64_t bytes, Labels labels);
  std::vector<Labels> read(std::uint64_t address, std::uint64_t bytes) const;

  struct Impl;
  Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

enum class Dependence : std::uint8_t {
  control_flow,  ///< a branch, an exit, who meets at a barrier
  address,       ///< where memory is read or written
  store_guard,   ///< whether memory is written
  output,        ///< what is stored where the label is forbidden
};

std::string_view to_string(Dependence dependence) noexcept;

/// The first lane for which one instruction depends on watched labels in one way.
struct TaintFinding {
  Dependence dependence = Dependence::control_flow;
  CodePlace at;
  Labels labels = 0;  ///< all that it depends on
};

std::string to_string(const TaintFinding& finding);

struct TaintOptions {
  Labels watched = 1;        ///< those on which control flow, addresses and store guards must not depend
  Labels uninitialised = 1;  ///< of shared and local memory when a CTA starts
};

struct TaintReport {
  LaunchStats stats;
  std::vector<TaintFinding> findings;  ///< in the order of CTA, then of the module text
};

/// launch() with labels. The bits and the statistics are those of launch(), the time is not.
/// @param map must have been made for `memory`
TaintReport launch_tainted(const Module& module, Memory& memory, TaintMap& map, std::string_view entry,
                           std::span<const std::byte> params, const LaunchOptions& options,
                           const TaintOptions& taint = {});

}  // namespace librt::ptx
