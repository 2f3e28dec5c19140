// A loaded kernel, the plan of a batch, and the tensors of a launch.
#pragma once

#include <librt/artifact.hpp>
#include <librt/export.hpp>
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

/// One paged tensor of the KV cache, in device memory. Element (page, token, head, dim) lies at
/// data + page * page_stride + token * token_stride + head * head_stride + dim, counted in elements. A stride of 0
/// means the dense NHD default: [num_pages, page_size, num_kv_heads, head_dim]. Strides must be multiples of 8 elements
/// and data aligned to 16 bytes. For MLA (one head) head_stride is ignored. HND: page_stride = heads * page_size * dim,
/// head_stride = page_size * dim, token_stride = dim. K and V may lie in one allocation, side by side or interleaved;
/// strides by which two rows of one tensor would share elements are refused.
struct PagedTensor {
  const void* data = nullptr;
  /// Page ids of a request must be below it. The same for both tensors of a launch. The virtual device checks the ids
  /// that the requests own at every launch; a GPU does not.
  std::int64_t num_pages = 0;
  std::int64_t page_stride = 0;
  std::int64_t token_stride = 0;
  std::int64_t head_stride = 0;
};

/// Device pointers of one GQA launch, all of the kernel's device. Everything stays owned by the caller and must live
/// until the stream has passed. out and lse overlap nothing else: they are written while the inputs are still read.
/// Launches that may run at the same time need workspaces of their own.
struct GqaDecodeArgs {
  const void* q = nullptr;  ///< [batch, num_qo_heads, head_dim]
  PagedTensor k_pages{};
  PagedTensor v_pages{};
  const std::int32_t* kv_indptr = nullptr;         ///< [batch + 1]
  const std::int32_t* kv_indices = nullptr;        ///< page ids; may be null if no request owns a page
  const std::int32_t* kv_last_page_len = nullptr;  ///< [batch]
  void* out = nullptr;                             ///< as q
  float* lse = nullptr;                            ///< [batch, num_qo_heads], natural log; null = not wanted
  void* workspace = nullptr;                       ///< plan.workspace_bytes(), aligned to 256 bytes; null if that is 0
  float sm_scale = 0;  ///< factor of q.k, usually 1/sqrt(head_dim); must be finite and not 0
};

/// Device pointers of one MLA launch; see GqaDecodeArgs.
struct MlaDecodeArgs {
  const void* q_nope = nullptr;  ///< [batch, num_heads, head_dim_ckv]
  const void* q_pe = nullptr;    ///< [batch, num_heads, head_dim_kpe]
  PagedTensor ckv_pages{};       ///< [num_pages, page_size, head_dim_ckv]
  PagedTensor kpe_pages{};       ///< [num_pages, page_size, head_dim_kpe]
  const std::int32_t* kv_indptr = nullptr;
  const std::int32_t* kv_indices = nullptr;
  const std::int32_t* kv_last_page_len = nullptr;
  void* out = nullptr;   ///< [batch, num_heads, head_dim_ckv]
  float* lse = nullptr;  ///< [batch, num_heads], natural log; null = not wanted
  void* workspace = nullptr;
  float sm_scale = 0;  ///< of the model's un-absorbed head dim, e.g. 1/sqrt(128 + 64)
};

struct PlanOptions {
  /// Pages in a split, the same for every request: a request's bits then do not depend on its batch.
  /// 0 lets the planner choose from the batch and the device.
  int split_pages = 0;
};

/// How a batch is cut into blocks of work. It decides splits only; lengths are read again on the device, so that a plan
/// stays correct for shorter requests (for longer ones the surplus pages are ignored). Cheap to copy, immutable, usable
/// from several threads. launch() reads it during the call only; a graph that was captured from a launch reads it at
/// each replay, so that it must outlive the graph. A moved-from Plan has batch 0 and no work; launch() refuses it.
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
  void launch(const Plan& plan, const GqaDecodeArgs& args, CUstream_st* stream = nullptr) const;
  void launch(const Plan& plan, const MlaDecodeArgs& args, CUstream_st* stream = nullptr) const;

  explicit Kernel(std::shared_ptr<const detail::KernelImpl> impl) noexcept;

 private:
  const detail::KernelImpl& impl() const;
  std::shared_ptr<const detail::KernelImpl> impl_;
};

}  // namespace librt
