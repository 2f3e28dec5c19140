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

struct PlanOptions {
  /// Pages in a split, the same for every request: a request's bits then do not depend on its batch.
  /// 0 lets the planner choose from the batch and the device.
  int split_pages = 0;
};

/// How a batch is cut into blocks of work: data, for any device's kernel of the same spec. It decides splits only;
/// lengths are read again on the device, so that a plan stays correct for requests that have become shorter or longer
/// since (those take longer to run then: a new plan makes them fast again), unless it was made for a batch in which no
/// request had a page. Cheap to copy, immutable, usable from several threads. launch() reads it during the call only; a
/// graph that was captured from a launch reads it at each replay, so that it must outlive the graph. A moved-from Plan
/// has batch 0 and no work; launch() refuses it.
class LIBRT_API Plan {
 public:
  Plan(const Plan&);
  Plan(Plan&&) noexcept;
  Plan& operator=(const Plan&);
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  int batch() const noexcept;
  int split_pages() const noexcept;              ///< pages in a split; the planner's choice if it was asked to choose
  int num_work_items() const noexcept;           ///< sum of the requests' split counts, at least one a request
  int num_split_requests() const noexcept;       ///< requests whose results are merged from several splits
  std::size_t workspace_bytes() const noexcept;  ///< device memory that launch() needs

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

  /// Host arithmetic over host copies of the two arrays.
  /// @param kv_indptr [batch + 1], starts at 0 or above, never falls.
  /// @param kv_last_page_len [batch], in 1..page_size for every request that has pages, ignored for the others.
  /// Throws Error(invalid_argument) that names the array, the element, its value and what is allowed.
  Plan plan(std::span<const std::int32_t> kv_indptr, std::span<const std::int32_t> kv_last_page_len,
            const PlanOptions& options = {}) const;

  /// Enqueues the decode, and the merge where the plan has splits, on `stream` (null = the default stream), which must
  /// be one of the kernel's device. On a GPU it
  /// does not wait, takes no lock, allocates nothing and reads no environment variable, and the stream may be one that
  /// a CUDA graph is captured from. On the virtual device it returns when the work is done, one launch after the other.
  /// Every row of out (and lse) of every request is written; a request without pages gets 0 and -inf.
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

  explicit Kernel(std::shared_ptr<const detail::KernelImpl> impl) noexcept;

 private:
  const detail::KernelImpl& impl() const;
  std::shared_ptr<const detail::KernelImpl> impl_;
};

}  // namespace librt
