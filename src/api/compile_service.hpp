// Specializations in, artifacts out: memory, then disk, then NVRTC.
#pragma once

#include <librt/artifact.hpp>
#include <librt/cache.hpp>
#include <librt/options.hpp>
#include <librt/runtime.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "src/api/specialize.hpp"
#include "src/cache/cache.hpp"
#include "src/jit/nvrtc.hpp"
#include "src/util/log.hpp"
#include "src/util/per_process.hpp"

namespace librt::api {

using SharedArtifact = std::shared_ptr<const Artifact>;

struct Resolution {
  SharedArtifact artifact;
  Origin origin = Origin::compiled;  // how this request was served; the artifact's own says how its first one was
  std::size_t choice = 0;            // of those that were given
};

/// A program for an architecture.
struct Choice {
  Arch arch;
  Specialized specialized;
};

/// Thread safe. Shared by a Runtime and the Kernels that it made.
class CompileService {
 public:
  explicit CompileService(const Options& options);

  /// One compile for each key among all threads of the process that use this service.
  Resolution get(const Specialized& specialized, const Arch& arch);

  /// The first of `choices` (at least one) that a directory has or that can be compiled here. A warning says so, once
  /// for each pair of architectures, where it is not the first. Where there is none, throws what get() of the first
  /// throws.
  Resolution get(const std::vector<Choice>& choices);

  /// For artifacts of one program that the driver refused, the last of them just now: other bytes of it, of an older
  /// compiler or compiled anew. Nothing if there are none, or could be none: an artifact that was compiled here just
  /// now, or by the same compiler (unless it may be damaged), or where nothing may be compiled.
  std::optional<Resolution> other_than(const std::vector<SharedArtifact>& refused, const Choice& choice,
                                       bool maybe_damaged);

  struct EntryState {
    bool was_there = false;
    std::uint64_t bytes = 0;  // about
  };
  /// As get(), past the memory of the process: from the directories, else compiled and published there.
  EntryState store(const Specialized& specialized, const Arch& arch);
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
  struct CompileRequest;

  /// What is read once, when it is first needed.
  struct Toolchain {
    std::shared_ptr<const jit::KernelSources> sources;
    std::size_t kernels = 0;  // that were known then
    std::unique_ptr<const jit::NvrtcIdentity> identity;
    std::unique_ptr<const jit::Nvrtc> nvrtc;
    std::set<std::string> steps;  // from one architecture to another that were warned of
  };
  enum class By {
    this_compiler,  // or any, where there is none or none may run
    any_compiler,
  };

  std::shared_ptr<const jit::KernelSources> sources(const std::string& header);
  const jit::NvrtcIdentity& identity();
  const jit::Nvrtc& nvrtc();
  const jit::Nvrtc* usable_nvrtc();
  CompileRequest make_request(const Specialized& specialized, const Arch& arch, By by = By::this_compiler);
  Resolution get_missed(const CompileRequest& request);
  std::optional<Resolution> find(const CompileRequest& request);
  void warn_of_step(const std::vector<Choice>& choices, std::size_t taken, const std::string& reason);
  bool is_hopeless(const CompileRequest& request);
  cache::Entry compile(const CompileRequest& request);
  cache::TiersOptions tiers_options(const Options& options) const;

  util::Log log_;
  CacheMode mode_;
  std::string kernels_dir_;
  std::string nvrtc_path_;
  std::vector<SourceEdit> edits_;
  util::Trust trust_;
  util::PerProcess<Toolchain> toolchain_;  // the lock guards their making, not their use
  cache::Cache<Artifact> cache_;
};

}  // namespace librt::api
