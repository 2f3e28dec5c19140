// What the instrument does with each event of a CTA.
#include "src/ptx/sanitizer_instrument.hpp"

#include <algorithm>
#include <bit>

namespace librt::ptx {
void SanitizerInstrument::plan(const Kernel& kernel) {
  kernel_ = &kernel;
  code_ = kernel.code.data();
  registers_.assign(1, RegisterPlan(kernel));
  follows_registers_ = registers_[0].any();
  reported_.assign(kernel.code.size(), 0);
  steps_.assign(kernel.code.size(), {});
  for (std::size_t i = 0; i < kernel.code.size(); ++i) {
    const InstructionInfo& info = kernel.info[i];
    Step& step = steps_[i];
    step.bytes = static_cast<std::uint8_t>(info.access_bytes);
    if (info.ordering != Ordering::weak) step.strength = info.cta_scope ? 1 : 2;
    step.registers = !registers_[0].doubtful(i).empty() || !registers_[0].followed(i).empty();
    switch (info.access) {
      case MemoryAccess::none:
        if (info.fence) step.action = Action::fence;
        if (info.form.op == Op::cp_async_wait) step.action = Action::wait;
        if (kernel.code[i].flow == Flow::warp_mask && info.form.op == Op::nothing) step.action = Action::meet;
        if (step.action == Action::none && step.registers) step.action = Action::registers;
        break;
      case MemoryAccess::load:
        if (info.space != Space::param && info.space != Space::constant)
          step.action = Action::load;
        else if (step.registers)
          step.action = Action::registers;
        break;
      case MemoryAccess::store:
        step.action = info.form.op == Op::st ? Action::store : Action::store_matrices;
        break;
      case MemoryAccess::atomic:
        step.action = Action::atomic;
        break;
      case MemoryAccess::matrix_load:
        step.action = Action::load_matrices;
        break;
      case MemoryAccess::copy:
        step.action = Action::copy;
        break;
    }
  }
}

void SanitizerInstrument::start_cta(Cta& cta) {
  launch_ = cta.launch;
  if (kernel_ == nullptr) {
    plan(*cta.launch->kernel);
    map_.crowds.start(cta.warps.size());
    written_.resize(cta.warps.size());
    local_.resize(cta.warps.size());
  }
  clocks_.start(map_.launch_cta + static_cast<std::uint32_t>(cta.linear_index), cta.warps.size());
  map_.next_cta = std::max(map_.next_cta, clocks_.cta() + 1);
  shared_.assign((cta.shared.size() + kCellBytes - 1) / kCellBytes, {});
  shared_parts_.clear();
  shared_crowds_.start(cta.warps.size());
  shared_sync_.clear();
  for (std::size_t i = 0; i < cta.warps.size(); ++i) {
    written_[i].assign(registers_[0].count(), 0);
    local_[i].assign(cta.warps[i].local.size(), 0);
  }
}

void SanitizerInstrument::check_guard(Warp& warp, const Instruction& in, std::uint32_t group, std::uint32_t) {
  const std::size_t at = index_of(in);
  if (!registers_[0].guard_is_doubtful(at)) return;
  const std::uint32_t unwritten = group & ~written_[warp.index][registers_[0].doubtful(at).front()];
  if (unwritten != 0) find_unwritten_register(warp, in, static_cast<unsigned>(std::countr_zero(unwritten)));
}

void SanitizerInstrument::check_registers(const Warp& warp, const Instruction& in, std::uint32_t mask) {
  for (const std::uint32_t r : registers_[0].doubtful(index_of(in))) {
    const std::uint32_t unwritten = mask & ~written_[warp.index][r];
    if (unwritten != 0) return find_unwritten_register(warp, in, static_cast<unsigned>(std::countr_zero(unwritten)));
  }
}

void SanitizerInstrument::note_registers(const Warp& warp, const Instruction& in, std::uint32_t mask) {
  for (const std::uint32_t r : registers_[0].followed(index_of(in))) written_[warp.index][r] |= mask;
}

void SanitizerInstrument::barrier_arrive(Warp& warp, const Instruction& in, std::uint32_t mask, unsigned barrier) {
  if (follows_registers_) {
    check_registers(warp, in, mask);
    note_registers(warp, in, mask);
  }
  clocks_.arrive(warp, barrier, in.barrier != BarrierOperation::arrive);
}

void SanitizerInstrument::act(Warp& warp, const Instruction& in, const Step& step, std::uint32_t mask) {
  if (step.registers) {
    check_registers(warp, in, mask);
    note_registers(warp, in, mask);
  }
  switch (step.action) {
    case Action::none:
    case Action::registers:
      break;
    case Action::load:
      access_lanes(warp, in, step, mask, false);
      break;
    case Action::store:
    case Action::atomic:
      access_lanes(warp, in, step, mask, true);
      break;
    case Action::load_matrices:
    case Action::store_matrices: {
      const unsigned count = kernel_->info[index_of(in)].form.count;
      const std::uint32_t rows = count == 4 ? kFullWarp : (1u << (8 * count)) - 1;
      access_lanes(warp, in, step, rows, step.action == Action::store_matrices);
      break;
    }
    case Action::copy:
      copy(warp, in, mask);
      break;
    case Action::wait:
      wait(warp, in, mask);
      break;
    case Action::meet:
      clocks_[warp.index].meet(mask, warp.live);
      break;
    case Action::fence:
      clocks_[warp.index].fence(warp.live);
      break;
  }
  if (step.strength != 0) order_strong(warp, in, step, mask);
}

void SanitizerInstrument::wait(Warp& warp, const Instruction& in, std::uint32_t mask) {
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    const std::uint64_t committed = std::uint64_t{warp.committed[lane]} + in.target;  // wait_all commits first
    const auto kept = static_cast<std::uint64_t>(in.immediate);
    if (committed > kept) clocks_[warp.index].copies_done(lane, static_cast<std::uint32_t>(committed - kept));
  }
}

/// A strong read that sees what a strong write published knows what the writer knew: at once where it acquires and the
/// writer released, else from and up to the next and the last fence. Values are not compared: a read knows of all
/// strong writes to its address.
void SanitizerInstrument::order_strong(Warp& warp, const Instruction& in, const Step& step, std::uint32_t mask) {
  const Ordering ordering = kernel_->info[index_of(in)].ordering;
  const bool acquires = ordering == Ordering::acquire || ordering == Ordering::acq_rel;
  const bool releases = ordering == Ordering::release || ordering == Ordering::acq_rel;
  WarpClock& clock = clocks_[warp.index];
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    if (!in_mask(mask, lane)) continue;
    const std::uint64_t address = access_address(warp, in, lane);
    const Space space = target_of(in.space, address);
    if (space != Space::shared && space != Space::global) continue;
    auto& all = space == Space::shared ? shared_sync_ : global_sync_;
    const std::uint64_t key = space == Space::shared ? address & ~kWindowMask : address;
    if (step.action != Action::store) {
      if (const auto found = all.find(key); found != all.end()) {
        Knowledge seen = found->second;
        const auto own = seen.elsewhere.find(clocks_.cta());
        if (own != seen.elsewhere.end()) seen.here = own->second;
        if (acquires) {
          clock.acquire(seen);
        } else {
          if (clock.pending == nullptr) clock.pending = std::make_unique<Knowledge>();
          clock.pending->join(seen);
        }
      }
    }
    if (step.action == Action::load || (!releases && clock.fenced == nullptr)) continue;
    Knowledge published = releases ? clock.release(warp.live) : *clock.fenced;
    published.elsewhere[clocks_.cta()] = published.here;
    published.here.fill(1);  // means something else to another CTA
    all[key].join(published);
  }
}

}  // namespace librt::ptx
