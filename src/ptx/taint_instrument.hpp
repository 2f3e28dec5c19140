// The instrument that computes labels: one for each host thread of a launch.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "src/ptx/instrument.hpp"
#include "src/ptx/taint_map.hpp"
#include "src/ptx/taint_shadow.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {

/// Truth tables as lop3 has them: bit 4a + 2b + c is the result for bits a, b, c.
namespace truth {
constexpr unsigned kAnd = 0xc0, kOr = 0xfc, kXor = 0x3c, kNot = 0x0f;
}

/// Findings of one launch by instruction and kind, from all host threads; the one of the lowest CTA stays.
class TaintFindings {
 public:
  /// @param cta linear index
  void add(std::uint64_t cta, std::size_t instruction, TaintFinding finding);
  std::vector<TaintFinding> take();

 private:
  struct Entry {
    std::uint64_t cta;
    TaintFinding finding;
  };
  std::mutex mutex_;
  std::map<std::pair<std::size_t, Dependence>, Entry> entries_;
};

class TaintInstrument final : public CopyObserver {
 public:
  static constexpr bool kWatches = true;

  TaintInstrument(TaintMap::Impl& map, const TaintOptions& options, TaintFindings& findings)
      : map_(map), options_(options), findings_(findings) {}

  void start_cta(Cta& cta);
  void end_cta(Cta&) {}
  void guard(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t mask);
  void before(Warp& warp, const Instruction& in, std::uint32_t mask);
  void after(Warp&, const Instruction&, std::uint32_t) {}
  void branch(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t taken);
  void barrier_arrive(Warp& warp, const Instruction& in, std::uint32_t mask, unsigned barrier);
  void barrier_release(Cta& cta, unsigned barrier);
  void copy_arrived(Warp& warp, const PendingCopy& copy) override;

 private:
  using Register = WarpShadow::Register;
  struct Waiting {  ///< lanes that get the result of bar.red
    std::uint32_t warp;
    const Instruction* instruction;
    std::uint32_t mask;
  };

  static const InstructionInfo& info_of(const Warp& warp, const Instruction& in) {
    return warp.kernel->info[static_cast<std::size_t>(&in - warp.kernel->code.data())];
  }
  WarpShadow& shadow(const Warp& warp) { return shadows_[warp.index]; }
  void find(const Warp& warp, const Instruction& in, unsigned lane, Dependence dependence, Labels labels);
  /// A finding for the first lane of `mask` whose `r` has a watched label.
  void check(const Warp& warp, const Instruction& in, std::uint32_t mask, Register r, Dependence dependence);
  bool any_labelled(const Warp& warp, std::span<const Register> registers) const;
  void clear(const Warp& warp, std::span<const Register> registers, std::uint32_t mask);

  // taint_rules.cpp: registers of one lane
  void registers(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);
  void unite(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);
  void move_bits(Warp& warp, const Instruction& in, const InstructionInfo& info, std::span<const Register> controls,
                 std::uint32_t mask);
  void move_bytes(const Warp& warp, const Instruction& in, const InstructionInfo& info,
                  std::span<const Register> controls, std::uint32_t mask);
  bool keeps_bytes_whole(const Warp& warp, const Instruction& in, const InstructionInfo& info,
                         std::span<const Register> controls) const;
  void pack_halves(Warp& warp, const Instruction& in, std::uint32_t mask);
  void convert_halves(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);

  // taint_logic.cpp: bitwise operations and comparisons
  void logic_bytes(Warp& warp, const Instruction& in, unsigned table, std::uint8_t bytes, std::uint32_t mask);
  void logic(Warp& warp, const Instruction& in, const InstructionInfo& info, unsigned table, std::uint32_t mask);
  void compare(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);

  // taint_warp.cpp: registers of several lanes
  void vote(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);
  void unite_lanes(Warp& warp, const InstructionInfo& info, std::uint32_t mask);
  void multiply_matrices(Warp& warp, const Instruction& in, unsigned halves);
  void load_matrices(Warp& warp, const Instruction& in, const InstructionInfo& info);
  void store_matrices(Warp& warp, const Instruction& in, const InstructionInfo& info);

  // taint_memory.cpp
  struct LabelRange {
    Labels* labels = nullptr;  ///< null: memory that cannot have labels
    TaintMap::Impl::Slot* slot = nullptr;
  };
  LabelRange place(Warp& warp, const Instruction& in, unsigned lane, Space space, std::uint64_t address,
                   std::uint32_t bytes, AccessMode mode);
  /// What is about to be stored at `place` must not have labels that are forbidden there.
  void check_output(const Warp& warp, const Instruction& in, unsigned lane, const LabelRange& place,
                    const Labels* labels, std::uint32_t bytes);
  static void write(const LabelRange& place, const Labels* labels, std::uint32_t bytes);
  static bool readable(const LabelRange& place) {
    return place.labels != nullptr && (place.slot == nullptr || place.slot->labelled.load(std::memory_order_relaxed));
  }
  /// The labels of the address of `lane`; a watched one is a finding.
  Labels address_labels(const Warp& warp, const Instruction& in, unsigned lane);
  void load(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);
  void store(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);
  void atomic(Warp& warp, const Instruction& in, const InstructionInfo& info, std::uint32_t mask);
  void copy(Warp& warp, const Instruction& in, std::uint32_t mask);

  TaintMap::Impl& map_;
  TaintOptions options_;
  TaintFindings& findings_;
  const Kernel* kernel_ = nullptr;
  std::unique_ptr<PredicatePlaces> places_;
  std::vector<WarpShadow> shadows_;
  std::vector<Labels> shared_;
  std::vector<std::vector<Labels>> local_;
  std::size_t last_source_ = 0;  ///< where labels_of looks first
  /// Of addresses and sizes of copies under way, by destination: one that is overtaken by another to the same place
  /// gets the labels of both.
  struct CopyPlace {
    std::uint32_t under_way = 0;
    Labels labels = 0;
  };
  static constexpr std::uint32_t kSmallestCopy = 4;  // bytes; a copy's destination is a multiple of its size
  std::vector<CopyPlace> copy_places_;
  std::array<Labels, 16> barrier_labels_{};
  std::array<std::vector<Waiting>, 16> barrier_waiting_;
  const Instruction* guarded_ = nullptr;  ///< the instruction to come, if its guard has labels
  std::array<Labels, kLanes> guard_labels_{};
  Warp scratch_;  ///< its registers are where handlers move labels; zero between uses
  std::vector<std::byte> scratch_registers_;
};

}  // namespace librt::ptx
