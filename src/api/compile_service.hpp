// Specializations in, artifacts out: memory, then disk, then NVRTC.
#pragma once

#include <librt/artifact.hpp>
#include <librt/cache.hpp>
#include <librt/options.hpp>
#include <librt/runtime.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/api/specialize.hpp"
#include "src/cache/cache.hpp"
#include "src/jit/nvrtc.hpp"
#include "src/util/log.hpp"
#include "src/util/per_process.hpp"

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

  struct Stored {
    bool was_there = false;
    std::uint64_t bytes = 0;  // about
  };
  /// As get(), past the memory of the process: from the directories, else compiled and published there.
  Stored store(const Specialized& specialized, const Arch& arch);
  /// Whether a directory has it.
  bool holds(const Specialized& specialized, const Arch& arch);

  /// Why get() would or would not find it. Compiles nothing.
  CacheExplanation explain(const Specialized& specialized, const Arch& arch);

  void drop_memory();
  void count_memory_hit() noexcept;
  RuntimeStats stats() noexcept;
  void flush_stats() noexcept;

  const util::Log& log() const noexcept { return log_; }

 private:
  struct Request;

  /// What is read once, when it is first needed.
  struct Lazy {
    std::unique_ptr<const jit::KernelSources> sources;
    std::unique_ptr<const jit::NvrtcIdentity> identity;
    std::unique_ptr<const jit::Nvrtc> nvrtc;
  };

  const jit::KernelSources& sources();
  const jit::NvrtcIdentity& identity();
  const jit::Nvrtc& nvrtc();
  Request make_request(const Specialized& specialized, const Arch& arch);
  cache::Entry compile(const Request& request);
  cache::TiersOptions tiers_options(const Options& options) const;

  util::Log log_;
  std::string kernels_dir_;
  std::string nvrtc_path_;
  std::vector<SourceEdit> edits_;
  util::Trust trust_;
  util::PerProcess<Lazy> lazy_;  // the lock guards their making, not their use
  cache::Cache<Artifact> cache_;
};

}  // namespace librt::api
