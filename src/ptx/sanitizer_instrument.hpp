// The instrument that looks for defects; one host thread runs all CTAs of a launch under it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/ptx/instrument.hpp"
#include "src/ptx/sanitizer_cells.hpp"
#include "src/ptx/sanitizer_map.hpp"
#include "src/ptx/sanitizer_registers.hpp"
#include "src/ptx/warp.hpp"

namespace librt::ptx {

class SanitizerInstrument {
 public:
  static constexpr bool kWatches = true;

  SanitizerInstrument(SanitizerMap::Impl& map, std::vector<SanitizerFinding>& findings)
      : map_(map), findings_(findings) {}

  void start_cta(Cta& cta);
  void end_cta(Cta&) {}
  void guard(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t mask) {
    if (follows_registers_) check_guard(warp, in, group, mask);
  }
  void before(Warp& warp, const Instruction& in, std::uint32_t mask) {
    const Step& step = steps_[index_of(in)];
    if (step.action != Action::none) act(warp, in, step, mask);
  }
  void after(Warp&, const Instruction&, std::uint32_t) {}
  void branch(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t) {
    if (follows_registers_) check_registers(warp, in, group);
  }
  void barrier_arrive(Warp& warp, const Instruction& in, std::uint32_t mask, unsigned barrier);
  void barrier_release(Cta& cta, unsigned barrier) { clocks_.release(cta, barrier); }

 private:
  enum class Action : std::uint8_t {
    none,
    registers,  ///< nothing but registers that may be unwritten
    load,
    store,
    atomic,
    load_matrices,
    store_matrices,
    copy,
    wait,
    meet,
    fence,
  };
  struct Step {  ///< what `before` needs of InstructionInfo
    Action action = Action::none;
    std::uint8_t bytes = 0;
    std::uint8_t strength = 0;
    bool registers = false;
  };
  struct Access {
    const Warp& warp;
    const Instruction& in;
    unsigned lane;
    unsigned bytes;
    Space space;
    std::uint64_t address;
    Stamp me;
    bool writes;
  };

  std::size_t index_of(const Instruction& in) const { return static_cast<std::size_t>(&in - code_); }
  void plan(const Kernel& kernel);
  void act(Warp& warp, const Instruction& in, const Step& step, std::uint32_t mask);
  void check_guard(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t mask);
  void check_registers(const Warp& warp, const Instruction& in, std::uint32_t mask);
  void note_registers(const Warp& warp, const Instruction& in, std::uint32_t mask);
  void order_strong(Warp& warp, const Instruction& in, const Step& step, std::uint32_t mask);
  void wait(Warp& warp, const Instruction& in, std::uint32_t mask);

  // sanitizer_memory.cpp
  void access_lanes(Warp& warp, const Instruction& in, const Step& step, std::uint32_t mask, bool writes);
  void copy(Warp& warp, const Instruction& in, std::uint32_t mask);
  void access(const Access& access);
  void access_shared(const Access& access, std::uint64_t offset);
  void access_global(const Access& access);
  void access_local(const Access& access, std::uint64_t offset);
  void read(SharedCell& cell, const Access& access);
  void write(SharedCell& cell, const Access& access);
  void read(GlobalCell& cell, const Access& access);
  void write(GlobalCell& cell, const Access& access);
  void add_reader(Stamp& read, Crowds& crowds, const Access& access);
  void check_readers(Stamp read, Crowds& crowds, const Access& access);
  void check(Stamp earlier, bool earlier_writes, const Access& access);
  void check_foreign(Stamp earlier, std::uint32_t cta, bool earlier_writes, const Access& access);
  bool stores_the_same(Stamp earlier, const Access& access) const;

  // sanitizer_findings.cpp
  bool is_new(const Instruction& in, Defect defect);
  void find_unwritten_register(const Warp& warp, const Instruction& in, unsigned lane);
  void find_unwritten(const Access& access);
  void find_conflict(Defect defect, const Access& access, Stamp earlier, std::uint32_t cta, bool earlier_writes);
  std::string memory_of(const Access& access) const;

  SanitizerMap::Impl& map_;
  std::vector<SanitizerFinding>& findings_;
  const Kernel* kernel_ = nullptr;
  const Instruction* code_ = nullptr;
  const LaunchContext* launch_ = nullptr;
  std::vector<Step> steps_;
  std::vector<RegisterPlan> registers_;  ///< one, as soon as there is a kernel
  bool follows_registers_ = false;
  std::vector<std::vector<std::uint32_t>> written_;  ///< [warp][register]: lanes
  CtaClocks clocks_;
  std::vector<SharedCell> shared_;
  CellParts<SharedCell> shared_parts_;
  Crowds shared_crowds_;
  std::vector<std::vector<std::uint8_t>> local_;    ///< [warp]: whether each byte is written
  std::map<std::uint64_t, Knowledge> shared_sync_;  ///< what strong writes published, by address
  std::map<std::uint64_t, Knowledge> global_sync_;
  std::vector<std::uint16_t> reported_;  ///< defects, by instruction
};

}  // namespace librt::ptx
