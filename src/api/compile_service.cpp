#include "src/api/compile_service.hpp"

#include <librt/error.hpp>
#include <librt/version.hpp>

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "src/api/entry_codec.hpp"
#include "src/util/key_document.hpp"

namespace librt::api {
namespace {

std::int64_t seconds_since_epoch() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

constexpr auto kRelaxed = std::memory_order_relaxed;

}  // namespace

struct CompileService::Request {
  Specialized specialized;
  jit::Program program;
  std::string key_document;
  util::Digest digest{};
  std::string key;
};

CompileService::CompileService(const Options& options)
    : log_(options.log, options.log_level),
      kernels_dir_(options.kernels_dir),
      nvrtc_path_(options.nvrtc),
      edits_(options.source_edits) {
  if (options.cache_mode == CacheMode::off) return;
  cache::Location location = cache::locate(options.cache_dir);
  if (location.path.empty()) {
    log_(LogLevel::warn, fmt::format("compiled kernels are kept in memory only: {}", location.reason));
    return;
  }
  store_.emplace(std::move(location.path), log_, validate_entry);
}

const jit::KernelSources& CompileService::sources() {
  const std::lock_guard lock(lazy_mutex_);
  if (!sources_) {
    sources_ = std::make_unique<const jit::KernelSources>(jit::KernelSources::load(kernels_dir_, edits_));
    log_(LogLevel::debug, fmt::format("kernel sources: {}", sources_->origin()));
  }
  return *sources_;
}

const jit::NvrtcIdentity& CompileService::identity() {
  const std::lock_guard lock(lazy_mutex_);
  if (!identity_) identity_ = std::make_unique<const jit::NvrtcIdentity>(jit::identify_nvrtc(nvrtc_path_));
  return *identity_;
}

const jit::Nvrtc& CompileService::nvrtc() {
  const jit::NvrtcIdentity& wanted = identity();
  const std::lock_guard lock(lazy_mutex_);
  if (!nvrtc_) nvrtc_ = std::make_unique<const jit::Nvrtc>(wanted);
  return *nvrtc_;
}

CompileService::Request CompileService::make_request(const Specialized& specialized, const Arch& arch) {
  Request request{.specialized = specialized,
                  .program = jit::make_program(specialized.program, arch),
                  .key_document = {},
                  .key = {}};
  const std::vector<util::KeyField> fields = jit::key_fields(request.program, sources(), identity());
  request.digest = util::key_digest(fields);
  request.key_document = util::key_document(fields);
  request.key = util::to_hex(request.digest);
  return request;
}

Got CompileService::get(const Specialized& specialized, const Arch& arch) {
  counters_.lookups.fetch_add(1, kRelaxed);
  const Request request = make_request(specialized, arch);
  auto result = artifacts_.get(request.key, [&] {
    if (SharedArtifact found = find_on_disk(request)) return found;
    return compile(request);
  });
  if (result.made) return {result.value, result.value->origin};
  counters_.memory_hits.fetch_add(1, kRelaxed);
  return {std::move(result.value), Origin::memory};
}

SharedArtifact CompileService::recompile(const Specialized& specialized, const Arch& arch) {
  return compile(make_request(specialized, arch));
}

SharedArtifact CompileService::find_on_disk(const Request& request) {
  if (!store_) return nullptr;
  cache::Found found = store_->find(request.digest, request.key_document);
  if (found.corrupt) counters_.corrupt.fetch_add(1, kRelaxed);
  if (!found.entry) return nullptr;
  counters_.disk_hits.fetch_add(1, kRelaxed);
  return std::make_shared<const Artifact>(to_artifact(request.key, std::move(*found.entry)));
}

SharedArtifact CompileService::compile(const Request& request) {
  jit::Compiled compiled;
  try {
    compiled = nvrtc().compile(request.program, sources());
  } catch (...) {
    counters_.failed.fetch_add(1, kRelaxed);
    throw;
  }
  counters_.compiled.fetch_add(1, kRelaxed);
  const jit::Specialization& what = request.specialized.program;
  auto artifact = std::make_shared<const Artifact>(Artifact{.key = request.key,
                                                            .kernel = what.kernel,
                                                            .entry = request.program.entry,
                                                            .arch = request.program.arch,
                                                            .cubin = std::move(compiled.cubin),
                                                            .ptx = std::move(compiled.ptx),
                                                            .source = request.program.source,
                                                            .spec = request.program.spec_json,
                                                            .block_threads = request.specialized.block_threads,
                                                            .shared_bytes = request.specialized.shared_bytes,
                                                            .origin = Origin::compiled,
                                                            .compile_ms = compiled.compile_ms});
  log_(LogLevel::info,
       fmt::format("compiled {} for {} in {:.0f} ms", what.kernel, to_string(artifact->arch), artifact->compile_ms));
  if (!store_) return artifact;
  const EntryMeta meta{.kernel = artifact->kernel,
                       .entry = artifact->entry,
                       .target = to_string(artifact->arch),
                       .nvrtc = identity().version,
                       .log = std::move(compiled.log),
                       .librt_version = std::string(version()),
                       .block_threads = artifact->block_threads,
                       .shared_bytes = artifact->shared_bytes,
                       .compile_ms = artifact->compile_ms,
                       .created = seconds_since_epoch()};
  if (!store_->publish(request.digest, to_entry(*artifact, request.key_document, meta))) {
    counters_.publish_failed.fetch_add(1, kRelaxed);
  }
  return artifact;
}

void CompileService::drop_memory() {
  artifacts_.clear();
}

void CompileService::count_memory_hit() noexcept {
  counters_.lookups.fetch_add(1, kRelaxed);
  counters_.memory_hits.fetch_add(1, kRelaxed);
}

RuntimeStats CompileService::stats() const noexcept {
  return {.lookups = counters_.lookups.load(kRelaxed),
          .memory_hits = counters_.memory_hits.load(kRelaxed),
          .disk_hits = counters_.disk_hits.load(kRelaxed),
          .compiled = counters_.compiled.load(kRelaxed),
          .failed = counters_.failed.load(kRelaxed),
          .corrupt = counters_.corrupt.load(kRelaxed),
          .publish_failed = counters_.publish_failed.load(kRelaxed)};
}

}  // namespace librt::api
