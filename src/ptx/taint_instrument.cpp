// What the instrument does with each event of a CTA: guards, branches, barriers, copies that land.
#include "src/ptx/taint_instrument.hpp"

#include <algorithm>
#include <cstring>

namespace librt::ptx {
namespace {

constexpr unsigned width(InstructionInfo::Register r) {
  return r.bytes == 0 ? 1 : r.bytes;  // of the labels; a predicate has one byte of them
}

bool in(std::uint32_t mask, unsigned lane) {
  return ((mask >> lane) & 1u) != 0;
}

}  // namespace

PredicatePlaces::PredicatePlaces(const Kernel& kernel) : places_(kernel.register_bytes / 4, 0) {
  for (const InstructionInfo& info : kernel.info)
    for (const InstructionInfo::Register& r : info.written)
      if (r.bytes == 0 && places_[r.offset / 4] == 0) places_[r.offset / 4] = count_++;
}

void TaintInstrument::start_cta(Cta& cta) {
  cta.copy_observer = this;
  if (kernel_ == nullptr) {
    kernel_ = cta.launch->kernel;
    places_ = std::make_unique<PredicatePlaces>(*kernel_);
    shadows_.resize(cta.warps.size());
    for (WarpShadow& shadow : shadows_) shadow.resize(*kernel_, *places_);
    local_.resize(cta.warps.size());
    scratch_registers_.assign(kernel_->register_bytes, std::byte{0});
    scratch_.registers = scratch_registers_.data();
    scratch_.cta = &cta;
    scratch_.kernel = kernel_;
  }
  for (WarpShadow& shadow : shadows_) shadow.clear();
  shared_.assign(cta.shared.size(), options_.uninitialised);
  for (std::size_t i = 0; i < local_.size(); ++i) local_[i].assign(cta.warps[i].local.size(), options_.uninitialised);
  copy_places_.assign(cta.shared.size() / kSmallestCopy + 1, {});
  barrier_labels_.fill(0);
  for (auto& waiting : barrier_waiting_) waiting.clear();
  guarded_ = nullptr;
}

void TaintInstrument::find(const Warp& warp, const Instruction& instruction, unsigned lane, Dependence dependence,
                           Labels labels) {
  findings_.add(warp.cta->linear_index, static_cast<std::size_t>(&instruction - kernel_->code.data()),
                {.dependence = dependence, .at = place_of(warp, instruction, lane), .labels = labels});
}

void TaintInstrument::check(const Warp& warp, const Instruction& instruction, std::uint32_t mask, Register r,
                            Dependence dependence) {
  const WarpShadow& labels = shadow(warp);
  if (!labels.labelled(r.offset)) return;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in(mask, lane) || (labels.any(r, lane) & options_.watched) == 0) continue;
    return find(warp, instruction, lane, dependence, labels.any(r, lane));
  }
}

bool TaintInstrument::any_labelled(const Warp& warp, std::span<const Register> registers) const {
  return std::ranges::any_of(registers, [&](const Register& r) { return shadows_[warp.index].labelled(r.offset); });
}

void TaintInstrument::clear(const Warp& warp, std::span<const Register> registers, std::uint32_t mask) {
  for (const Register& r : registers) shadow(warp).clear(r, mask);
}

/// A guarded instruction is a choice between the new and the old value: both sides then have the guard's labels.
void TaintInstrument::guard(Warp& warp, const Instruction& instruction, std::uint32_t group, std::uint32_t mask) {
  guarded_ = nullptr;
  const Register predicate{instruction.guard, 0};
  WarpShadow& labels = shadow(warp);
  if (!labels.labelled(predicate.offset)) return;
  Labels all = 0;
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    guard_labels_[lane] = in(group, lane) ? labels.any(predicate, lane) : Labels{0};
    all |= guard_labels_[lane];
  }
  if (all == 0) return;
  const InstructionInfo& info = info_of(warp, instruction);
  const bool writes =
      info.access == MemoryAccess::store || info.access == MemoryAccess::atomic || info.access == MemoryAccess::copy;
  const bool waits = info.form.op == Op::cp_async_wait || info.form.op == Op::cp_async_commit;
  if (instruction.flow != Flow::next || info.form.op == Op::trap || waits)
    check(warp, instruction, group, predicate, Dependence::control_flow);
  else if (writes)
    check(warp, instruction, group, predicate, Dependence::store_guard);
  for (const Register& r : info.written)
    for (unsigned lane = 0; lane < kLanes; ++lane)
      if (in(group & ~mask, lane)) labels.set(r, lane, labels.get(r, lane) | in_each(guard_labels_[lane], width(r)));
  guarded_ = &instruction;
}

void TaintInstrument::before(Warp& warp, const Instruction& instruction, std::uint32_t mask) {
  const InstructionInfo& info = info_of(warp, instruction);
  if (instruction.flow == Flow::warp_mask) check(warp, instruction, mask, {instruction.e, 4}, Dependence::control_flow);
  switch (info.access) {
    case MemoryAccess::none:
      registers(warp, instruction, info, mask);
      break;
    case MemoryAccess::load:
      load(warp, instruction, info, mask);
      break;
    case MemoryAccess::store:
      if (info.form.op == Op::st)
        store(warp, instruction, info, mask);
      else
        store_matrices(warp, instruction, info);
      break;
    case MemoryAccess::atomic:
      atomic(warp, instruction, info, mask);
      break;
    case MemoryAccess::matrix_load:
      load_matrices(warp, instruction, info);
      break;
    case MemoryAccess::copy:
      copy(warp, instruction, mask);
      break;
  }
  if (guarded_ == &instruction) {
    WarpShadow& labels = shadow(warp);
    for (const Register& r : info.written)
      for (unsigned lane = 0; lane < kLanes; ++lane)
        if (in(mask, lane)) labels.set(r, lane, labels.get(r, lane) | in_each(guard_labels_[lane], width(r)));
  }
  guarded_ = nullptr;
}

void TaintInstrument::branch(Warp& warp, const Instruction& instruction, std::uint32_t, std::uint32_t taken) {
  // The guard of a branch was looked at as a guard.
  if (instruction.flow == Flow::branch_table)
    check(warp, instruction, taken, {instruction.a, 4}, Dependence::control_flow);
}

void TaintInstrument::barrier_arrive(Warp& warp, const Instruction& instruction, std::uint32_t mask, unsigned barrier) {
  check(warp, instruction, mask, {instruction.a, 4}, Dependence::control_flow);
  if (instruction.b != 0) check(warp, instruction, mask, {instruction.b, 4}, Dependence::control_flow);
  if (instruction.barrier == BarrierOperation::sync || instruction.barrier == BarrierOperation::arrive) return;
  for (unsigned lane = 0; lane < kLanes; ++lane)
    if (in(mask, lane)) barrier_labels_[barrier] |= shadow(warp).any({instruction.c, 0}, lane);
  barrier_waiting_[barrier].push_back({warp.index, &instruction, mask});
}

void TaintInstrument::barrier_release(Cta& cta, unsigned barrier) {
  for (const Waiting& waiting : barrier_waiting_[barrier])
    for (const Register& r : info_of(cta.warps[waiting.warp], *waiting.instruction).written)
      for (unsigned lane = 0; lane < kLanes; ++lane)
        if (in(waiting.mask, lane)) shadows_[waiting.warp].set(r, lane, in_each(barrier_labels_[barrier], width(r)));
  barrier_waiting_[barrier].clear();
  barrier_labels_[barrier] = 0;
}

void TaintInstrument::copy_arrived(Warp&, const PendingCopy& copy) {
  Labels* to = shared_.data() + copy.destination;
  const Labels* from = copy.source_bytes == 0 ? nullptr : map_.labels_of(copy.source, last_source_);
  const std::size_t labelled = from == nullptr ? 0 : copy.source_bytes;
  if (labelled == 16)
    std::memcpy(to, from, 16);
  else if (labelled != 0)
    std::memcpy(to, from, labelled);
  if (labelled < copy.bytes) std::memset(to + labelled, 0, copy.bytes - labelled);
  CopyPlace& place = copy_places_[copy.destination / kSmallestCopy];
  if (place.labels != 0)
    for (unsigned i = 0; i < copy.bytes; ++i) to[i] |= place.labels;
  if (--place.under_way == 0) place.labels = 0;
}

}  // namespace librt::ptx
