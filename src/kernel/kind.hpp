// A kernel as it was registered: its description, looked through once so that no request has to.
#pragma once

#include <librt/kernel_kind.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

namespace librt {

/// Whether a field may have the value, by itself.
bool allows(const Field& field, int value);

class KernelKind {
 public:
  /// Of a launch.
  struct Sizes {
    std::int64_t batch = 0;
    std::int64_t num_pages = 0;
    const std::int64_t* counts = nullptr;  // by operand
  };
  /// What an extent of a shape counts.
  struct Extent {
    enum class Of { field, count, batch, num_pages } of = Of::batch;
    std::size_t index = 0;  // of the field, or of the operand that is a count
    int plus = 0;

    std::int64_t value(const Spec& spec, const Sizes& sizes) const;
  };
  static constexpr std::size_t kMostExtents = 6;
  static constexpr std::size_t kMostPaged = 8;  // and so many of rows
  struct ResolvedOperand {
    std::array<Extent, kMostExtents> extents{};
    std::optional<std::size_t> dtype_field;  // none: 4-byte elements
  };

  /// Throws Error(invalid_argument) that names the kernel, the field or operand, and what is allowed.
  explicit KernelKind(const KernelDescription& description);
  KernelKind(const KernelKind&) = delete;
  KernelKind& operator=(const KernelKind&) = delete;

  const KernelDescription& description() const noexcept { return description_; }
  std::optional<std::size_t> field(std::string_view name) const noexcept;
  std::optional<std::size_t> operand(std::string_view name) const noexcept;
  std::optional<std::size_t> operand(Meaning meaning) const noexcept;
  const ResolvedOperand& resolved(std::size_t operand) const { return operands_[operand]; }
  std::size_t workspace() const noexcept { return workspace_; }  ///< the operand; of a kernel that takes a plan
  bool takes_plan() const noexcept { return description_.split != nullptr; }
  std::size_t element_bytes(std::size_t operand, const Spec& spec) const;

  mutable std::atomic<const KernelKind*> next{nullptr};  // in the registry

 private:
  Extent resolve(std::string_view extent, std::string_view operand) const;
  void resolve_operand(std::size_t index);

  KernelDescription description_;
  std::array<ResolvedOperand, LaunchArguments::kMostOperands> operands_{};
  std::size_t workspace_ = 0;
};

}  // namespace librt
