// The bindings of a launch, by the operands of its kernel. Takes no lock, and allocates only where it throws.
#pragma once

#include <librt/kernel_kind.hpp>

#include <array>
#include <cstdint>
#include <span>

#include "src/kernel/kind.hpp"

namespace librt::kernel {

/// What a launch has to fit.
struct LaunchFacts {
  int batch = 0;
  bool owns_pages = false;  // some request has a page, so that page ids and pages are read
  std::size_t workspace_bytes = 0;
};

class Arguments {
 public:
  /// Throws Error(invalid_argument): a name that is no operand of the spec's kernel or is there twice, or a pointer
  /// where a tensor of pages belongs. `bindings` must outlive this.
  Arguments(const Spec& spec, std::span<const Binding> bindings);

  /// Whether no count is 0. Throws Error(invalid_argument) for a count that can be none. To be asked before check().
  bool has_work();

  /// Refuses what no launch could be right with: null, misaligned, overlapping or contradicting arguments. Throws
  /// Error(invalid_argument) that names the argument, its value and what is allowed.
  void check(const LaunchFacts& facts);

  /// After check(): everything, the strides of paged tensors with their defaults.
  void bind(LaunchArguments& launch) const;
  /// One of them, as the operand `as` of another kernel.
  void bind(std::size_t operand, LaunchArguments& launch, std::size_t as) const;

  /// What was bound to the operand with this meaning; null if there is none.
  const std::int32_t* integers(Meaning meaning) const;
  /// Of the first paged operand; null if there is none.
  const PagedTensor* pages() const { return num_paged_ == 0 ? nullptr : &paged_[0]; }
  void* workspace() const;
  std::int64_t count(std::size_t operand) const { return counts_[operand]; }
  const void* data(std::size_t operand) const { return bound_[operand]->data; }

 private:
  static constexpr std::size_t kMost = LaunchArguments::kMostOperands;
  static constexpr std::size_t kMostPaged = KernelKind::kMostPaged;

  void check_one(std::size_t operand, const LaunchFacts& facts);
  void check_paged(std::size_t operand, const LaunchFacts& facts);
  void check_rows_of(std::size_t operand, const LaunchFacts& facts);
  KernelKind::Sizes sizes(const LaunchFacts& facts) const;
  std::int64_t stride_multiple(std::size_t operand) const;
  void check_overlap(const LaunchFacts& facts) const;
  std::size_t bytes_of(std::size_t operand, const LaunchFacts& facts) const;
  const void* address_of(std::size_t operand) const;

  const Spec& spec_;
  const KernelKind& kind_;
  std::span<const Operand> operands_;
  std::array<const Binding*, kMost> bound_{};
  std::array<PagedTensor, kMostPaged> paged_{};
  std::array<std::size_t, kMostPaged> paged_operand_{};
  std::array<RowTensor, kMostPaged> rows_{};
  std::array<std::size_t, kMost> place_;  // of paged operands in paged_, of rows in rows_
  std::size_t num_paged_ = 0, num_rows_ = 0;
  std::array<std::int64_t, kMost> counts_{};
};

}  // namespace librt::kernel
