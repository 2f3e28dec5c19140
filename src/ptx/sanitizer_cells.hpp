// Who accessed which bytes last. A cell stands for 16 bytes as long as all are accessed alike, which is how tiles are;
// else for 4 of them, or for one.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "src/ptx/sanitizer_clock.hpp"

namespace librt::ptx {

constexpr unsigned kCellBytes = 16;

/// In shared memory. `write` is stamp::kUnwritten for bytes that nobody wrote.
struct SharedCell {
  Stamp write = stamp::kUnwritten;
  Stamp read = 0;  ///< since that write; or a crowd: several warps that do not know of each other
};

struct GlobalCell {
  Stamp write = 0, read = 0, foreign = 0;  ///< foreign: of a CTA before the one that read last
  std::uint32_t write_cta = 0, read_cta = 0, foreign_cta = 0;
};

/// As a read, with the number of a crowd; its source is one that reads never have.
constexpr Stamp kCrowd = Stamp{stamp::kMostTime + 2} << stamp::kTimeAt | Stamp{63} << stamp::kSourceAt;
constexpr Stamp kSplit = Stamp{stamp::kMostTime + 1} << stamp::kTimeAt;  ///< as a write: `read` has the parts

constexpr bool is_split(Stamp write) {
  return (write >> stamp::kTimeAt) == (kSplit >> stamp::kTimeAt);
}
constexpr bool is_crowd(Stamp read) {
  return (read >> stamp::kTimeAt) == (kCrowd >> stamp::kTimeAt);
}

/// Reads of one cell by several warps of the CTA, none of which knows of the others.
class Crowds {
 public:
  void start(std::size_t warps) {
    warps_ = warps;
    stamps_.clear();
    free_.clear();
  }
  /// The last read of each warp, 0 where there is none.
  Stamp* of(Stamp crowd) { return stamps_.data() + (crowd & 0xffffffffu) * warps_; }
  Stamp make() {
    if (free_.empty()) {
      stamps_.resize(stamps_.size() + warps_);
      return kCrowd | (stamps_.size() / warps_ - 1);
    }
    const Stamp crowd = free_.back();
    free_.pop_back();
    std::fill_n(of(crowd), warps_, Stamp{0});
    return crowd;
  }
  Stamp copy(Stamp crowd) {
    const Stamp made = make();
    std::copy_n(of(crowd), warps_, of(made));
    return made;
  }
  void release(Stamp crowd) { free_.push_back(crowd); }
  std::size_t warps() const { return warps_; }

 private:
  std::size_t warps_ = 0;
  std::vector<Stamp> stamps_;
  std::vector<Stamp> free_;
};

template <class Cell>
class CellParts {
 public:
  void clear() { parts_.clear(); }

  /// Calls visit(cell) for every cell of `bytes` bytes from `from` on, of the `size` bytes of `cell`.
  template <class Visit>
  void visit(Cell& cell, Crowds& crowds, unsigned size, unsigned from, unsigned bytes, const Visit& visit_cell) {
    if (!is_split(cell.write)) {
      if (bytes == size) return visit_cell(cell);
      std::array<Cell, 4> parts{cell, cell, cell, cell};
      if (is_crowd(cell.read))
        for (unsigned i = 1; i < 4; ++i) parts[i].read = crowds.copy(cell.read);
      cell.write = kSplit;
      cell.read = parts_.size();
      parts_.push_back(parts);
    }
    const unsigned part = size / 4;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned begin = std::max(from, i * part), end = std::min(from + bytes, (i + 1) * part);
      if (begin >= end) continue;
      // Visits may add parts: no reference into them lives longer than a step.
      Cell copy = parts_[cell.read][i];
      visit(copy, crowds, part, begin - i * part, end - begin, visit_cell);
      parts_[cell.read][i] = copy;
    }
  }

 private:
  std::vector<std::array<Cell, 4>> parts_;
};

}  // namespace librt::ptx
