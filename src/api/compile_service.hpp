// Specializations in, artifacts out: memory, then disk, then NVRTC.
#pragma once

#include <librt/artifact.hpp>
#include <librt/options.hpp>
#include <librt/runtime.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "src/api/specialize.hpp"
#include "src/cache/once_map.hpp"
#include "src/cache/store.hpp"
#include "src/jit/nvrtc.hpp"
#include "src/util/log.hpp"

namespace librt::api {

using SharedArtifact = std::shared_ptr<const Artifact>;

struct Got {
  SharedArtifact artifact;
  Origin origin = Origin::compiled;  // how this request was served; the artifact's own says how its first one was
};

/// Thread safe. Shared by a Runtime and the Kernels that it made.
class CompileService {
 public:
  explicit CompileService(const Options& options);

  /// One compile for each key among all threads of the process that use this service.
  Got get(const Specialized& specialized, const Arch& arch);

  /// For bytes from disk that the driver refused: forgets them and compiles anew.
  SharedArtifact recompile(const Specialized& specialized, const Arch& arch);

  void drop_memory();
  void count_memory_hit() noexcept;
  RuntimeStats stats() const noexcept;

  const util::Log& log() const noexcept { return log_; }

 private:
  struct Request;

  const jit::KernelSources& sources();
  const jit::NvrtcIdentity& identity();
  const jit::Nvrtc& nvrtc();
  Request make_request(const Specialized& specialized, const Arch& arch);
  SharedArtifact find_on_disk(const Request& request);
  SharedArtifact compile(const Request& request);

  util::Log log_;
  std::string kernels_dir_;
  std::string nvrtc_path_;
  std::vector<SourceEdit> edits_;
  std::optional<cache::Store> store_;

  std::mutex lazy_mutex_;  // guards the making of the three below, not their use
  std::unique_ptr<const jit::KernelSources> sources_;
  std::unique_ptr<const jit::NvrtcIdentity> identity_;
  std::unique_ptr<const jit::Nvrtc> nvrtc_;

  cache::OnceMap<std::string, SharedArtifact> artifacts_;

  struct Counters {
    std::atomic<std::uint64_t> lookups{0}, memory_hits{0}, disk_hits{0}, compiled{0}, failed{0}, corrupt{0},
        publish_failed{0};
  };
  Counters counters_;
};

}  // namespace librt::api
