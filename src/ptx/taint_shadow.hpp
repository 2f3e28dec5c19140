// The labels of the registers of one warp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "src/ptx/program.hpp"
#include "src/ptx/taint.hpp"

namespace librt::ptx {

/// The labels of a register in one lane, a byte of labels for each byte of the register, in a number as the register
/// is one: what moves bits by whole bytes moves labels alike. A predicate has one byte.
using Word = std::uint64_t;

inline Labels any_of(Word word) {
  word |= word >> 32;
  word |= word >> 16;
  return static_cast<Labels>(word | (word >> 8));
}

constexpr Word low_bytes(unsigned bytes) {
  return bytes >= 8 ? ~Word{0} : (Word{1} << (8 * bytes)) - 1;
}

/// `labels` in each of the low `bytes` bytes.
constexpr Word in_each(Labels labels, unsigned bytes) {
  return (labels * Word{0x0101010101010101}) & low_bytes(bytes);
}

/// The labels of each lane, in every byte of its number.
using LaneLabels = std::array<std::uint32_t, kLanes>;

/// From any bytes of a lane to all.
inline std::uint32_t spread_bytes(std::uint32_t labels) {
  labels |= labels >> 16;
  labels = (labels | labels >> 8) & 0xff;
  labels |= labels << 8;
  return labels | labels << 16;
}

/// Where the labels of each predicate of a kernel stand; predicates are single bits of the register file.
class PredicatePlaces {
 public:
  explicit PredicatePlaces(const Kernel& kernel);
  /// 0: a constant, which has no labels.
  std::uint32_t of(std::uint32_t offset) const { return places_[offset / 4]; }
  std::uint32_t count() const { return count_; }

 private:
  std::vector<std::uint32_t> places_;
  std::uint32_t count_ = 1;
};

class WarpShadow {
 public:
  using Register = InstructionInfo::Register;

  void resize(const Kernel& kernel, const PredicatePlaces& places) {
    places_ = &places;
    registers_.assign(kernel.register_bytes, 0);
    labelled_.assign(kernel.register_bytes / 4, 0);
    predicates_.assign(std::size_t{places.count()} * kLanes, 0);
  }
  void clear() {
    std::fill(registers_.begin(), registers_.end(), Labels{0});
    std::fill(labelled_.begin(), labelled_.end(), std::uint8_t{0});
    std::fill(predicates_.begin(), predicates_.end(), Labels{0});
  }

  /// False: no lane of this register has a label.
  bool labelled(std::uint32_t offset) const { return labelled_[offset / 4] != 0; }

  Word get(Register r, unsigned lane) const {
    if (!labelled(r.offset)) return 0;
    if (r.bytes == 0) return predicates_[places_->of(r.offset) * kLanes + lane];
    Word word = 0;
    std::memcpy(&word, registers_.data() + r.offset + lane * r.bytes, r.bytes);
    return word;
  }
  Labels any(Register r, unsigned lane) const { return any_of(get(r, lane)); }

  void set(Register r, unsigned lane, Word word) {
    if (word == 0 && !labelled(r.offset)) return;
    if (r.bytes == 0) {
      const std::uint32_t place = places_->of(r.offset);
      if (place == 0) return;  // the sink of results that nobody wants
      predicates_[place * kLanes + lane] = static_cast<Labels>(word);
    } else {
      std::memcpy(registers_.data() + r.offset + lane * r.bytes, &word, r.bytes);
    }
    if (word != 0) labelled_[r.offset / 4] = 1;
  }

  void clear(Register r, std::uint32_t mask) {
    if (!labelled(r.offset)) return;
    if (mask == kFullWarp) {
      std::memset(bytes_of(r), 0, size_of(r));
      labelled_[r.offset / 4] = 0;
      return;
    }
    for (unsigned lane = 0; lane < kLanes; ++lane)
      if (((mask >> lane) & 1u) != 0) set(r, lane, 0);
  }

  /// Adds the labels of the lanes of a register, in whichever bytes.
  void add_to(Register r, LaneLabels& all) const {
    if (!labelled(r.offset)) return;
    const Labels* from = registers_.data() + r.offset;
    switch (r.bytes) {
      case 0:
        from = predicates_.data() + places_->of(r.offset) * kLanes;
        for (unsigned lane = 0; lane < kLanes; ++lane) all[lane] |= from[lane];
        break;
      case 2:
        add_numbers<std::uint16_t>(from, all);
        break;
      case 4:
        add_numbers<std::uint32_t>(from, all);
        break;
      default:
        for (unsigned lane = 0; lane < kLanes; ++lane) {
          std::uint64_t word;
          std::memcpy(&word, from + 8 * lane, sizeof word);
          all[lane] |= static_cast<std::uint32_t>(word | word >> 32);
        }
    }
  }
  /// Gives every byte of the lanes of `mask` their labels.
  void fill(Register r, const LaneLabels& all, std::uint32_t mask) {
    std::uint32_t any = 0;
    for (unsigned lane = 0; lane < kLanes; ++lane) any |= ((mask >> lane) & 1u) != 0 ? all[lane] : 0;
    if (any == 0) return clear(r, mask);
    if (r.bytes == 0 && places_->of(r.offset) == 0) return;
    alignas(16) Labels filled[8 * kLanes];
    if (r.bytes == 0)
      for (unsigned lane = 0; lane < kLanes; ++lane) filled[lane] = static_cast<Labels>(all[lane]);
    else if (r.bytes == 2)
      fill_numbers<std::uint16_t>(filled, all);
    else if (r.bytes == 4)
      std::memcpy(filled, all.data(), sizeof all);
    else
      for (unsigned lane = 0; lane < kLanes; ++lane) {
        const std::uint64_t word = std::uint64_t{all[lane]} << 32 | all[lane];
        std::memcpy(filled + 8 * lane, &word, sizeof word);
      }
    store(r, filled, mask);
  }
  /// The labels of all lanes, as the register has its bytes; a predicate has one byte a lane. Zeros if there are none.
  const Labels* lanes(Register r) const { return const_cast<WarpShadow*>(this)->bytes_of(r); }
  /// The lanes of `mask` get theirs from `labels`, laid out as lanes() has them.
  void store(Register r, const Labels* labels, std::uint32_t mask) {
    if (r.bytes == 0 && places_->of(r.offset) == 0) return;
    Labels* to = bytes_of(r);
    const std::size_t size = size_of(r), width = size / kLanes;
    if (mask == kFullWarp) {
      std::memcpy(to, labels, size);
    } else {
      for (unsigned lane = 0; lane < kLanes; ++lane)
        if (((mask >> lane) & 1u) != 0) std::memcpy(to + lane * width, labels + lane * width, width);
    }
    std::uint64_t any = 0;
    for (std::size_t i = 0; i < size; i += 8) {
      std::uint64_t word;
      std::memcpy(&word, to + i, sizeof word);
      any |= word;
    }
    labelled_[r.offset / 4] = any != 0 ? 1 : 0;
  }

  /// All 32 lanes of a register of 32 bits, as matrix instructions see them: lane after lane.
  void get_all(std::uint32_t offset, Labels (&out)[4 * kLanes]) const {
    std::memcpy(out, registers_.data() + offset, sizeof out);
  }
  void set_all(std::uint32_t offset, const Labels (&in)[4 * kLanes]) {
    std::memcpy(registers_.data() + offset, in, sizeof in);
    labelled_[offset / 4] = 0;
    for (const Labels labels : in)
      if (labels != 0) labelled_[offset / 4] = 1;
  }

 private:
  Labels* bytes_of(Register r) {
    return r.bytes == 0 ? predicates_.data() + places_->of(r.offset) * kLanes : registers_.data() + r.offset;
  }
  static std::size_t size_of(Register r) { return kLanes * (r.bytes == 0 ? std::size_t{1} : r.bytes); }
  template <class T>
  static void add_numbers(const Labels* from, LaneLabels& all) {
    T numbers[kLanes];
    std::memcpy(numbers, from, sizeof numbers);
    for (unsigned lane = 0; lane < kLanes; ++lane) all[lane] |= numbers[lane];
  }
  template <class T>
  static void fill_numbers(Labels* to, const LaneLabels& all) {
    T numbers[kLanes];
    for (unsigned lane = 0; lane < kLanes; ++lane) numbers[lane] = static_cast<T>(all[lane]);
    std::memcpy(to, numbers, sizeof numbers);
  }

  const PredicatePlaces* places_ = nullptr;
  std::vector<Labels> registers_;       ///< laid out as Warp::registers
  std::vector<Labels> predicates_;      ///< 32 of each place
  std::vector<std::uint8_t> labelled_;  ///< by offset / 4
};

}  // namespace librt::ptx
