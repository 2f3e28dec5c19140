// What a kernel is specialised for: a kernel and a value for each of its fields.
#pragma once

#include <librt/export.hpp>
#include <librt/types.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace librt {

class KernelKind;

/// A value: comparable, printable, parsable, and not to be changed. Made from a struct that names the fields of one
/// kernel (as those of librt.hpp do), from text, or from the values of a kernel that a program added
/// (kernel_kind.hpp). Making one checks no value: validate() does, and so does whatever takes a Spec.
class LIBRT_API Spec {
 public:
  static constexpr std::size_t kMostFields = 32;

  /// Of no kernel: refused wherever a spec is needed.
  Spec() noexcept = default;
  /// @param values of the kernel's fields, in their order. Throws Error(invalid_argument) unless there is one for each.
  Spec(const KernelKind& kind, std::span<const int> values);

  const KernelKind* kind() const noexcept { return kind_; }  ///< null: of no kernel
  std::string_view kernel() const noexcept;                  ///< empty: of no kernel

  /// The value of a field, a DType as the number that its enum has. Throws Error(invalid_argument) for what is no field
  /// of the kernel.
  int get(std::string_view field) const;
  DType dtype(std::string_view field) const { return static_cast<DType>(get(field)); }
  /// This spec with another value there. Throws as get().
  Spec with(std::string_view field, int value) const;
  Spec with(std::string_view field, DType value) const { return with(field, static_cast<int>(value)); }
  /// By the field's place among the kernel's fields; 0 behind the last one.
  int at(std::size_t field) const noexcept { return field < kMostFields ? values_[field] : 0; }

  /// The struct of one kernel; nothing where the spec is of another.
  template <class Typed>
  std::optional<Typed> as() const {
    return Typed::from(*this);
  }

  friend bool operator==(const Spec&, const Spec&) noexcept = default;
  std::size_t hash() const noexcept;

 private:
  const KernelKind* kind_ = nullptr;
  std::size_t count_ = 0;                  // of the kernel's fields
  std::array<int, kMostFields> values_{};  // 0 behind them
};

/// Throws Error(invalid_argument) that names the field, its value and what is allowed.
LIBRT_API void validate(const Spec& spec);

/// As Spec::kernel().
LIBRT_API std::string_view kernel_name(const Spec& spec) noexcept;

/// One line that parse_spec reads back: the kernel's name, then key=value for every field in the kernel's order, e.g.
/// "NAME dtype=bf16 kv_dtype=bf16 num_qo_heads=32 num_kv_heads=8 head_dim=128 page_size=16".
LIBRT_API std::string to_string(const Spec& spec);

/// Reads "KERNEL key=value ..." with the keys in any order. A field with a default may be left out. The result is
/// validated. Throws Error(invalid_argument).
LIBRT_API Spec parse_spec(std::string_view text);

}  // namespace librt

template <>
struct std::hash<librt::Spec> {
  std::size_t operator()(const librt::Spec& spec) const noexcept { return spec.hash(); }
};
