// Runs batches on the PTX machine under labels, through the same plan and launch that a GPU gets.
#pragma once

#include <librt/artifact.hpp>
#include <librt/kernel.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "src/ptx/instrumented.hpp"
#include "tools/librt/proof_batch.hpp"

namespace librt::tool {

/// Sources of labels are numbered: the elements of the page tensors, of kv_indices, kv_last_page_len, the workspace,
/// out and lse in this order, and last the shared memory of all blocks as one. Labels outside of a window are left out.
struct SourceWindow {
  std::size_t begin = 0;
  std::size_t end = std::numeric_limits<std::size_t>::max();
};

/// Something that a kernel must not do.
struct ProofFinding {
  std::string what{};  ///< in one line, complete by itself
  std::string kind{};  ///< "padding", "control flow", "an address", ...: with `instruction`, its identity
  std::string kernel{};
  std::string instruction{};  ///< empty if no single one is to blame
  std::string source{};       ///< "kernels/device/mask.cuh:123"; empty = unknown
  unsigned lane = 0, warp = 0;
  ptx::Dim3 cta{};
  ptx::Labels labels = 0;  ///< 0: not a matter of labels
  std::string origin{};    ///< the padding element that it came from; empty = not looked for
  std::string batch{};     ///< the case
};

struct ProofRun {
  std::vector<ProofFinding> findings{};
  std::vector<ptx::Labels> out_labels{}, lse_labels{};  ///< of each request: all labels of its bytes
  std::size_t sources = 0;                              ///< elements that can be in a window
  DecodeResult result{};
};

struct ProofArtifacts {
  std::shared_ptr<const Artifact> decode;
  std::shared_ptr<const Artifact> merge;  ///< null: no request is split
  std::uint64_t instruction_limit;  ///< Options::virtual_instruction_limit: warp instructions of a launch; 0 = no bound
};

/// One specialization on a machine of its own. Not thread safe; different ones may run side by side.
class ProofBench {
 public:
  explicit ProofBench(const ProofArtifacts& artifacts);
  ~ProofBench();
  ProofBench(const ProofBench&) = delete;
  ProofBench& operator=(const ProofBench&) = delete;

  /// Under labels and sanitizers. Throws Error for what the machine cannot run at all; a fault of the kernel is a
  /// finding.
  ProofRun run(const ProofBatch& batch, int split_pages, SourceWindow window = {});
  /// Without instruments.
  DecodeResult run_plain(const ProofBatch& batch, int split_pages);
  /// Name of source number `index` of the batch that ran last.
  std::string describe_source(const ProofBatch& batch, std::size_t index) const;

  std::uint64_t runs() const { return runs_; }
  std::uint64_t warp_instructions() const { return warp_instructions_; }

 private:
  struct Machine;
  struct Source {
    std::string tensor;
    std::size_t elements = 0;
  };

  Kernel kernel_for(const Spec& spec);
  void label(const void* address, std::size_t element_bytes, const std::vector<ptx::Labels>& labels,
             const std::string& tensor, SourceWindow window);

  std::unique_ptr<Machine> machine_;
  ProofArtifacts artifacts_;
  std::vector<Source> sources_;
  std::size_t numbered_ = 0;
  std::uint64_t runs_ = 0;
  std::uint64_t warp_instructions_ = 0;
};

}  // namespace librt::tool
