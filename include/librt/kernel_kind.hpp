// What a kernel is: the fields of its spec, the operands of its launch, and how both become a program and a launch.
// librt's own kernels describe themselves so (kernels/NAME/NAME.cpp); a program adds its own with
// Runtime::add_kernel().
//
// A description is plain constant data. All that it points to must live until the process ends, since specs and
// kernels refer to it: string literals, static arrays, functions of a library that is not unloaded.
#pragma once

#include <librt/binding.hpp>
#include <librt/export.hpp>
#include <librt/spec.hpp>
#include <librt/types.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace librt {

/// One member of a spec.
struct Field {
  std::string_view name{};
  /// What a value may be: one of `dtypes` where there are any, else one of `values` where there are any, else
  /// `low`..`high`.
  std::span<const DType> dtypes{};
  std::span<const int> values{};
  int low = 0, high = 0;
  /// What it is where it is not given: this value, or that of an earlier field. Neither: it must be given.
  std::optional<int> default_value{};
  std::string_view default_field{};
  /// Whether its value stands in the key document of a cache entry, where people read it. What a field makes of the
  /// program, of its threads and of its shared memory is in the key in any case.
  bool in_key = true;
  /// What engines call it in files, with blanks between the names.
  std::string_view aliases{};
};

enum class Access {
  read,
  write,   ///< all of it
  update,  ///< some of it: what is not written keeps its value
};
enum class Form {
  dense,      ///< a tensor without gaps
  rows,       ///< a RowTensor: [rows, heads, elements], or [rows, elements] of one head
  paged,      ///< a PagedTensor; its shape is written in the order NHD
  scalar,     ///< a float by value; finite
  count,      ///< a Count, which shapes may name as an extent; where one is 0, a launch has nothing to do
  workspace,  ///< the plan's tables and partial results
};
enum class Meaning {
  none,
  kv_indptr,         ///< [batch + 1]: request b owns kv_indices[kv_indptr[b]] .. kv_indices[kv_indptr[b + 1] - 1]
  kv_indices,        ///< page ids; may be null if the plan's limits allow no page
  kv_last_page_len,  ///< [batch], in 1..page_size for every request that has pages
};

/// One argument of a launch.
struct Operand {
  std::string_view name{};
  Access access = Access::read;
  Form form = Form::dense;
  Meaning meaning = Meaning::none;
  std::string_view element{};  ///< of a tensor: "f32", "i32", or a field that has a DType
  /// Extents of a tensor, outermost first: "num_pages", a field, a count or a count "+ 1"; "batch" is a count of every
  /// kernel that takes a plan. Paged: the pages, page_size, the heads unless there is one only, the elements of a row.
  /// Empty: not known to the host.
  std::span<const std::string_view> shape{};
  bool optional = false;  ///< may be null
  bool nonzero = false;   ///< of a scalar
  /// What engines call it in files, with blanks between the names.
  std::string_view aliases{};
};

/// One program of a kernel: a spec for an architecture.
struct KernelVariant {
  std::string traits{};     ///< a template in namespace librt::device
  std::string arguments{};  ///< of the template, as C++ text on one line: "librt::device::Bf16, 128, 16, 64, 2"
  int tile_tokens = 0;      ///< positions that a block takes at a time; proofs choose lengths by it. 0 = not said
  int stages = 0;           ///< tiles in shared memory at a time; 0 = not said
  int rows = 0;             ///< query rows of a block; 0 = not said
  int block_threads = 0;
  int shared_bytes = 0;  ///< dynamic shared memory of a block
};

/// How the work of a request can be cut along its pages.
struct SplitShape {
  int heads = 0;            ///< rows of the output, a request
  int head_dim = 0;         ///< elements of a row of the output
  int page_size = 0;        ///< tokens
  int blocks_per_item = 1;  ///< blocks that each work item takes: the grid's second dimension
  /// What an item and a merge cost besides the tokens, as the number of tokens that a block reads in that time.
  int tokens_per_item = 0, tokens_per_merge = 0;
};

struct PlanTables;  // kernels/work.h

/// How a launch finds its plan, and the blocks that step through it. The same for every plan within the same limits.
struct LaunchPlan {
  const PlanTables* tables = nullptr;
  unsigned item_blocks = 0;   ///< side by side along the work items: the grid's x dimension
  unsigned merge_blocks = 0;  ///< side by side along the requests that were split
};

/// What KernelDescription::fill is given and what it answers. Operands are named by their place in the description.
class LaunchArguments {
 public:
  static constexpr std::size_t kMostOperands = 32;
  static constexpr std::size_t kMostParamsBytes = 4096;

  LaunchArguments(const Spec& spec, const Arch& arch, int batch, const LaunchPlan& plan) noexcept
      : spec_(spec), arch_(arch), batch_(batch), plan_(plan) {}
  LaunchArguments(const LaunchArguments&) = delete;
  LaunchArguments& operator=(const LaunchArguments&) = delete;

  const Spec& spec() const noexcept { return spec_; }
  const Arch& arch() const noexcept { return arch_; }  ///< of the code that is launched
  int batch() const noexcept { return batch_; }
  const PlanTables* plan() const noexcept { return plan_.tables; }  ///< for the kernel's parameters
  unsigned item_blocks() const noexcept { return plan_.item_blocks; }
  unsigned merge_blocks() const noexcept { return plan_.merge_blocks; }
  /// Null, empty and 0 for an operand of another form. Throws std::out_of_range from kMostOperands on.
  template <class T = const void>
  T* data(std::size_t operand) const {
    return static_cast<T*>(data_.at(operand));
  }
  const PagedTensor& pages(std::size_t operand) const {  ///< strides are set
    static constexpr PagedTensor kNone{};
    const PagedTensor* const tensor = pages_.at(operand);
    return tensor == nullptr ? kNone : *tensor;
  }
  const RowTensor& rows(std::size_t operand) const {  ///< strides are set
    static constexpr RowTensor kNone{};
    const RowTensor* const tensor = rows_.at(operand);
    return tensor == nullptr ? kNone : *tensor;
  }
  float scalar(std::size_t operand) const { return scalars_.at(operand); }
  std::int64_t count(std::size_t operand) const { return counts_.at(operand); }

  /// The bytes that the kernel takes by value: its Traits::Params. To be asked for once, and filled.
  template <class Params>
  Params& params() noexcept {
    static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= kMostParamsBytes);
    params_bytes_ = sizeof(Params);
    return *new (params_.data()) Params{};
  }
  void set_grid(unsigned x, unsigned y = 1) noexcept {
    grid_x_ = x;
    grid_y_ = y;
  }

  // For whoever calls fill.
  std::span<const std::byte> params_bytes() const noexcept { return std::span(params_).first(params_bytes_); }
  unsigned grid_x() const noexcept { return grid_x_; }
  unsigned grid_y() const noexcept { return grid_y_; }
  void bind(std::size_t operand, void* data) { data_.at(operand) = data; }
  void bind(std::size_t operand, const PagedTensor* pages) { pages_.at(operand) = pages; }
  void bind(std::size_t operand, const RowTensor* rows) { rows_.at(operand) = rows; }
  void bind(std::size_t operand, float scalar) { scalars_.at(operand) = scalar; }
  void bind(std::size_t operand, Count count) { counts_.at(operand) = count.value; }

 private:
  const Spec& spec_;
  Arch arch_;
  int batch_;
  LaunchPlan plan_;
  std::array<void*, kMostOperands> data_{};
  std::array<const PagedTensor*, kMostOperands> pages_{};
  std::array<const RowTensor*, kMostOperands> rows_{};
  std::array<float, kMostOperands> scalars_{};
  std::array<std::int64_t, kMostOperands> counts_{};
  unsigned grid_x_ = 0, grid_y_ = 0;
  std::size_t params_bytes_ = 0;
  alignas(64) std::array<std::byte, kMostParamsBytes> params_;  // not initialised: a launch has no time for it
};

/// What a launch is given, where the host can read it: on the virtual device, and in a file.
class HostArguments {
 public:
  virtual ~HostArguments() = default;
  virtual const Spec& spec() const = 0;
  virtual std::int64_t count(std::size_t operand) const = 0;
  virtual std::int64_t num_pages() const = 0;
  /// `elements` of an operand of i32, from `first` on. Throws Error if there are not so many.
  virtual std::vector<std::int32_t> integers(std::size_t operand, std::int64_t first, std::int64_t elements) const = 0;
};

/// A file that NVRTC is handed, under the name by which it is included.
struct KernelSource {
  std::string_view name{};  ///< "mean_decode/mean_decode.cuh"
  std::string_view text{};
};

/// The functions may throw librt::Error, and must not call the library otherwise.
struct KernelDescription {
  /// An identifier. The device function is librt::device::NAME, a template over Traits that takes const
  /// Traits::Params&; it stands in NAME/NAME.cuh.
  std::string_view name{};
  std::span<const Field> fields{};      ///< in the order in which specs are printed
  std::span<const Operand> operands{};  ///< in the order in which they are best bound
  int oldest_sm = 80;                   ///< 80: needs sm_80 and up
  /// Only another kernel launches it: its name is not among those offered.
  bool internal = false;
  /// What the ranges of the fields cannot say. The ranges hold when it is called. May be null.
  void (*validate)(const Spec&) = nullptr;
  KernelVariant (*specialize)(const Spec&, const Arch&) = nullptr;
  /// Null: it takes no plan, and is launched by Kernel::launch(bindings).
  SplitShape (*split)(const Spec&, const Arch&) = nullptr;
  /// The spec of the internal kernel that joins the parts of requests that were split: merge_states, for parts as it
  /// reads them (kernels/merge_states/README.md). Its operands are bound to those of the same names here, which must be
  /// of the same form, element and shape. Null: no request is ever split.
  Spec (*merge)(const Spec&) = nullptr;
  /// Turns the arguments into the kernel's parameters and sets the grid. Called in every launch: it must not allocate,
  /// lock or wait.
  void (*fill)(LaunchArguments&) = nullptr;
  /// Refuses what the integers of a launch must not say, by Error(invalid_argument). Called where the host can read
  /// them; elsewhere the kernel has to leave alone what it cannot do. May be null; only for kernels that take no plan.
  void (*inspect)(const HostArguments&) = nullptr;
  /// For sample batches: sm_scale is 1/sqrt of it; 0 = of the elements of the first query row.
  int scaled_dim = 0;
  /// A spec of the same program for at most so many KV heads, for proofs: fewer do as well. Null: as it is.
  Spec (*with_kv_heads)(const Spec&, int most) = nullptr;
  /// Its own files, each below NAME/; they may include librt's (device/mask.cuh, work.h). Empty for librt's kernels.
  std::span<const KernelSource> sources{};
  const void* context = nullptr;  ///< for the functions, by way of Spec::kind()
};

/// Throws Error(invalid_argument) as validate() does for a field: "KERNEL: FIELD=VALUE is not supported WITH; allowed:
/// ...".
/// @param with e.g. "with dtype=bf16"; empty = nothing
[[noreturn]] LIBRT_API void refuse_field(const Spec& spec, std::string_view field, std::string_view allowed,
                                         std::string_view with = {});

LIBRT_API const KernelDescription& description(const KernelKind& kind) noexcept;
/// Of librt's kernels and of those that were added; null: there is none. Thread safe.
LIBRT_API const KernelKind* find_kernel(std::string_view name);
/// Those that are not internal, in the order in which they were added, librt's first. Thread safe.
LIBRT_API std::vector<const KernelKind*> kernel_kinds();

}  // namespace librt
