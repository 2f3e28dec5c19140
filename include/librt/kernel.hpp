// A loaded kernel and the plan of a batch.
#pragma once

#include <librt/artifact.hpp>
#include <librt/binding.hpp>
#include <librt/export.hpp>
#include <librt/gqa_decode.hpp>
#include <librt/mla_decode.hpp>
#include <librt/spec.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

struct CUstream_st;  // CUstream and cudaStream_t are both pointers to this

namespace librt {

namespace detail {
struct KernelImpl;
struct PlanImpl;
}  // namespace detail

/// The largest plans that a workspace and a captured launch are for, and how they are made. Launches with plans within
/// the same limits have the same parameters: what was captured from one of them is right for whichever is staged next.
struct PlanLimits {
  int max_batch = 0;           ///< requests; 0: what the batch at hand needs, also of pages and items
  std::int64_t max_pages = 0;  ///< page-table entries of the batch: kv_indptr[batch] - kv_indptr[0]
  int max_qo_rows = 0;         ///< query rows of the batch; 0: max_batch (every kernel takes one row a request now)
  /// Pages in a split, the same for every request: a request's bits then do not depend on its batch.
  /// 0 lets the planner choose from the batch and the device.
  int split_pages = 0;
  bool invariant = false;  ///< without split_pages: splits of 4096 tokens, whatever the batch and the device
  /// Work items, at least max_batch. 0: one a request and twice what the device runs at a time; with a fixed split, the
  /// most that it can give. The planner splits less rather than pass it.
  int max_items = 0;

  friend bool operator==(const PlanLimits&, const PlanLimits&) = default;
};

struct PlanOptions {
  PlanLimits limits{};
};

/// The lengths of a batch, on the host.
struct PlanBatch {
  std::span<const std::int32_t> kv_indptr{};         ///< [batch + 1], starts at 0 or above, never falls
  std::span<const std::int32_t> kv_last_page_len{};  ///< [batch], in 1..page_size; ignored for a request without pages
};

/// How a batch is cut into work items: data, for any device's kernel of the same spec. It decides splits only; lengths
/// are read again on the device, so that a plan stays correct for requests that have become shorter or longer since
/// (those take longer to run then: a new plan makes them fast again), unless its limits allow no page. Cheap to copy,
/// immutable, usable from several threads. stage() and launch() read it during the call only. A moved-from Plan has
/// batch 0 and no work; they refuse it.
class LIBRT_API Plan {
 public:
  Plan(const Plan&);
  Plan(Plan&&) noexcept;
  Plan& operator=(const Plan&);
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  int batch() const noexcept;
  const PlanLimits& limits() const noexcept;     ///< with nothing left to choose but the split
  int split_pages() const noexcept;              ///< pages in a split; the planner's choice if it was asked to choose
  int num_work_items() const noexcept;           ///< sum of the requests' split counts, at least one a request
  int num_split_requests() const noexcept;       ///< requests whose results are merged from several splits
  std::size_t workspace_bytes() const noexcept;  ///< of every plan within its limits

  explicit Plan(std::shared_ptr<const detail::PlanImpl> impl) noexcept;
  const detail::PlanImpl& impl() const;

 private:
  std::shared_ptr<const detail::PlanImpl> impl_;
};

/// A specialization loaded on a device. Cheap to copy; copies share it. All members are const and thread safe. The
/// last copy unloads the code: keep one, or the Runtime that has it in memory, until the launches have run and the
/// graphs that were captured from them are gone. `rt.get(spec).launch(...)` followed by drop_memory_cache() does not.
/// The members of a moved-from Kernel throw Error(invalid_argument).
class LIBRT_API Kernel {
 public:
  Kernel(const Kernel&);
  Kernel(Kernel&&) noexcept;
  Kernel& operator=(const Kernel&);
  Kernel& operator=(Kernel&&) noexcept;
  ~Kernel();

  const Spec& spec() const;
  const Artifact& artifact() const;  ///< what was loaded

  /// Device memory for whatever plan within the limits, to be allocated once. Throws Error(invalid_argument).
  std::size_t workspace_bytes(const PlanLimits& limits) const;

  /// Once a step: host arithmetic. Throws Error(invalid_argument) that names the array or the limit, the element, its
  /// value and what is allowed.
  Plan plan(const PlanBatch& batch, const PlanOptions& options = {}) const;

  /// Once a step, after plan(): enqueues one copy of the plan's tables to the workspace, from pinned memory that the
  /// Kernel keeps, so that the plan may go at once. Launches that are enqueued on the same stream before it still find
  /// the plan before. Waits only where several such copies are still under way (see stage_waits()). The stream must
  /// not be one that is being captured: a graph would repeat the copy of that moment; such a call is refused.
  /// Throws Error: invalid_argument (names the argument), driver, device_fault, no_device in a forked child.
  /// @param workspace of plan.workspace_bytes() or more, of the kernel's device
  void stage(const Plan& plan, const Workspace& workspace, CUstream_st* stream = nullptr) const;
  std::uint64_t stage_waits() const;  ///< how often stage() has waited for an earlier copy

  /// Once a layer, after stage(): enqueues the decode, and the merge where the plan's limits allow splits, on `stream`
  /// (null = the default stream), which must be one of the kernel's device. On a GPU it does not wait, copies nothing,
  /// takes no lock, allocates nothing and reads no environment variable, and the stream may be one that a CUDA graph is
  /// captured from: replayed after the next stage() within the same limits, the graph is right for the new lengths, if
  /// its arrays have room for max_batch requests. Of the plan the limits and the batch are looked at; the work is that
  /// of the plan that was staged last in the workspace. Where none of these limits was staged, the rows of the plan's
  /// batch become NaN, and nothing else is touched.
  /// On the virtual device it returns when the work is done, one launch after the other. Every row of out (and lse) of
  /// every request is written; a request without pages gets 0 and -inf.
  /// Launches that may run at the same time need workspaces of their own.
  /// Throws Error: invalid_argument (names the argument), driver, device_fault, no_device in a forked child.
  /// @param bindings one for each operand of the spec's kernel, best in their order (kernel_kind.hpp); an operand that
  /// is not bound is null.
  void launch(const Plan& plan, std::span<const Binding> bindings, CUstream_st* stream = nullptr) const;
  void launch(const Plan& plan, const GqaDecodeArgs& args, CUstream_st* stream = nullptr) const {
    launch(plan, args.bindings(), stream);
  }
  void launch(const Plan& plan, const MlaDecodeArgs& args, CUstream_st* stream = nullptr) const {
    launch(plan, args.bindings(), stream);
  }

  /// Of a kernel that takes no plan (append_kv): as above.
  void launch(std::span<const Binding> bindings, CUstream_st* stream = nullptr) const;

  explicit Kernel(std::shared_ptr<const detail::KernelImpl> impl) noexcept;

 private:
  const detail::KernelImpl& impl() const;
  std::shared_ptr<const detail::KernelImpl> impl_;
};

}  // namespace librt
