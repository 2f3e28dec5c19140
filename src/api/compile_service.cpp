#include "src/api/compile_service.hpp"

#include <librt/error.hpp>
#include <librt/version.hpp>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <utility>

#include "src/api/cache_words.hpp"
#include "src/api/entry_codec.hpp"
#include "src/util/env.hpp"
#include "src/util/key_document.hpp"

namespace librt::api {
namespace {

std::int64_t seconds_since_epoch() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

/// A misspelt variable would be silent otherwise. Once in a process, not with every Runtime.
void warn_of_unknown_variables(const util::Log& log) {
  static std::atomic_flag done;
  if (done.test_and_set()) return;
  for (const std::string& name : util::unknown_variables()) {
    log(LogLevel::warn, fmt::format("the environment variable {} is not one that librt knows", name));
  }
}

}  // namespace

struct CompileService::Request {
  Specialized specialized;
  jit::Program program;
  std::string key_document;
  util::Digest digest{};

  /// What launches and labels the kernel.
  EntryMeta launch() const {
    return {.kernel = specialized.program.kernel,
            .entry = program.entry,
            .target = to_string(program.arch),
            .nvrtc = {},
            .log = {},
            .librt_version = {},
            .block_threads = specialized.block_threads,
            .shared_bytes = specialized.shared_bytes};
  }
  /// To be used while this lives.
  cache::Request for_cache() const {
    return {digest, key_document, [this](const cache::Entry& entry) { return contradiction(entry, launch()); }};
  }
};

CompileService::CompileService(const Options& options)
    : log_(options.log, options.log_level),
      kernels_dir_(options.kernels_dir),
      nvrtc_path_(options.nvrtc),
      edits_(options.source_edits),
      trust_(trust_of(options.cache_trust)),
      cache_(tiers_options(options), log_, validate_entry, to_artifact) {
  warn_of_unknown_variables(log_);
}

cache::TiersOptions CompileService::tiers_options(const Options& options) const {
  cache::TiersOptions tiers{.mode = options.cache_mode,
                            .store = {.trust = trust_of(options.cache_trust),
                                      .fsync = options.cache_fsync,
                                      .max_bytes = options.cache_max_bytes},
                            .lock_timeout = std::chrono::milliseconds(options.lock_timeout_ms)};
  if (options.cache_mode == CacheMode::off) return tiers;
  for (const std::string& directory : options.cache_read_only) cache::require_absolute("cache_read_only", directory);
  tiers.read_only = options.cache_read_only;
  cache::Location location = cache::locate(options.cache_dir);
  if (location.path.empty()) {
    log_(LogLevel::warn, fmt::format("compiled kernels are kept in memory only: {}", location.reason));
  }
  tiers.root = std::move(location.path);
  return tiers;
}

const jit::KernelSources& CompileService::sources() {
  const jit::KernelSources* found = nullptr;
  {
    const auto lazy = lazy_.lock();
    if (lazy->sources) return *lazy->sources;
    lazy->sources = std::make_unique<const jit::KernelSources>(jit::KernelSources::load(kernels_dir_, edits_, trust_));
    found = lazy->sources.get();
  }
  // Said without the lock: what is called here may call the Runtime.
  if (!kernels_dir_.empty() && util::env("LIBRT_KERNELS_DIR") == kernels_dir_) {
    // Whoever set it chose the code that runs: that must not go unseen.
    log_(LogLevel::warn, fmt::format("kernels are read from LIBRT_KERNELS_DIR={}", kernels_dir_));
  }
  log_(LogLevel::debug, fmt::format("kernel sources: {}", found->origin()));
  return *found;
}

const jit::NvrtcIdentity& CompileService::identity() {
  const auto lazy = lazy_.lock();
  if (!lazy->identity) lazy->identity = std::make_unique<const jit::NvrtcIdentity>(jit::identify_nvrtc(nvrtc_path_));
  return *lazy->identity;
}

const jit::Nvrtc& CompileService::nvrtc() {
  const jit::NvrtcIdentity& wanted = identity();
  const auto lazy = lazy_.lock();
  if (!lazy->nvrtc) lazy->nvrtc = std::make_unique<const jit::Nvrtc>(wanted);
  return *lazy->nvrtc;
}

CompileService::Request CompileService::make_request(const Specialized& specialized, const Arch& arch) {
  Request request{
      .specialized = specialized, .program = jit::make_program(specialized.program, arch), .key_document = {}};
  const std::vector<util::KeyField> fields = jit::key_fields(request.program, sources(), identity());
  request.digest = util::key_digest(fields);
  request.key_document = util::key_document(fields);
  return request;
}

Got CompileService::get(const Specialized& specialized, const Arch& arch) {
  const Request request = make_request(specialized, arch);
  auto got = cache_.get(request.for_cache(), [&] { return compile(request); });
  return {std::move(got.value), got.origin};
}

SharedArtifact CompileService::recompile(const Specialized& specialized, const Arch& arch) {
  const Request request = make_request(specialized, arch);
  return cache_.get_anew(request.for_cache(), [&] { return compile(request); }).value;
}

CompileService::Stored CompileService::store(const Specialized& specialized, const Arch& arch) {
  const Request request = make_request(specialized, arch);
  const cache::Fetched fetched = cache_.tiers().fetch(request.for_cache(), [&] { return compile(request); });
  const cache::Entry& entry = fetched.entry;
  return {.was_there = fetched.origin == Origin::disk,
          .bytes = entry.key_document.size() + entry.meta.size() + entry.cubin.size() + entry.ptx.size() +
                   entry.source.size()};
}

bool CompileService::holds(const Specialized& specialized, const Arch& arch) {
  return cache_.tiers().holds(make_request(specialized, arch).for_cache());
}

cache::Entry CompileService::compile(const Request& request) {
  jit::Compiled compiled = nvrtc().compile(request.program, sources());
  EntryMeta meta = request.launch();
  log_(LogLevel::info, fmt::format("compiled {} for {} in {:.0f} ms", meta.kernel, meta.target, compiled.compile_ms));
  meta.nvrtc = identity().version;
  meta.log = std::move(compiled.log);
  meta.librt_version = version();
  meta.compile_ms = compiled.compile_ms;
  meta.created = seconds_since_epoch();
  return {.key_document = request.key_document,
          .meta = write_meta(meta),
          .cubin = std::move(compiled.cubin),
          .ptx = std::move(compiled.ptx),
          .source = request.program.source};
}

CacheExplanation CompileService::explain(const Specialized& specialized, const Arch& arch) {
  const Request request = make_request(specialized, arch);
  CacheExplanation explanation{.key = util::to_hex(request.digest), .key_document = request.key_document};
  explanation.cached = cache_.tiers().holds(request.for_cache());
  if (explanation.cached) return explanation;
  if (const auto nearest = cache_.tiers().nearest(request.key_document)) {
    explanation.nearest_key = nearest->key;
    explanation.nearest_path = nearest->path;
    for (const cache::Difference& each : nearest->differences) {
      explanation.differences.push_back({.field = each.field, .wanted = each.wanted, .found = each.found});
    }
  }
  return explanation;
}

void CompileService::drop_memory() {
  cache_.drop_memory();
}

void CompileService::count_memory_hit() noexcept {
  cache_.statistics().add(cache::Counter::memory_hits);
}

RuntimeStats CompileService::stats() noexcept {
  return runtime_stats(cache_.statistics().counts());
}

void CompileService::flush_stats() noexcept {
  cache_.statistics().flush();
}

}  // namespace librt::api
