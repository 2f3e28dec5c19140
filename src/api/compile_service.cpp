#include "src/api/compile_service.hpp"

#include <librt/error.hpp>
#include <librt/version.hpp>

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <utility>

#include "src/api/cache_words.hpp"
#include "src/api/entry_codec.hpp"
#include "src/kernel/registry.hpp"
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

struct CompileService::CompileRequest {
  Specialized specialized;
  jit::Program program;
  std::shared_ptr<const jit::KernelSources> sources{};
  std::string key_document;
  util::Digest digest{};
  bool any_compiler = false;         // the document names none
  std::exception_ptr no_compiler{};  // why there is none

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
  cache::EntryRequest for_cache() const {
    return {digest, key_document, [this](const cache::Entry& entry) { return contradiction(entry, launch()); },
            any_compiler};
  }
};

CompileService::CompileService(const Options& options)
    : log_(options.log, options.log_level),
      mode_(options.cache_mode),
      kernels_dir_(options.kernels_dir),
      nvrtc_path_(options.nvrtc),
      edits_(options.source_edits),
      trust_(options.cache_trust),
      cache_(tiers_options(options), log_, validate_entry, to_artifact) {
  warn_of_unknown_variables(log_);
}

cache::TiersOptions CompileService::tiers_options(const Options& options) const {
  cache::TiersOptions tiers{
      .mode = options.cache_mode,
      .store = {.trust = options.cache_trust, .fsync = options.cache_fsync, .max_bytes = options.cache_max_bytes},
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

/// Files are read once: what the key was made from is what is compiled, whatever happens to a directory.
std::shared_ptr<const jit::KernelSources> CompileService::sources(const std::string& header) {
  std::shared_ptr<const jit::KernelSources> found;
  {
    const auto lazy = toolchain_.lock();
    const std::size_t kernels = kernel::count();
    if (lazy->sources && (lazy->kernels == kernels || lazy->sources->has(header))) return lazy->sources;
    const bool is_first = !lazy->sources;
    found = std::make_shared<const jit::KernelSources>(is_first ? load_sources(kernels_dir_, edits_, trust_)
                                                                : lazy->sources->with(added_files()));
    lazy->sources = found;
    lazy->kernels = kernels;
    if (!is_first) return found;
  }
  // Said without the lock: what is called here may call the Runtime.
  if (!kernels_dir_.empty() && util::env("LIBRT_KERNELS_DIR") == kernels_dir_) {
    // Whoever set it chose the code that runs: that must not go unseen.
    log_(LogLevel::warn, fmt::format("kernels are read from LIBRT_KERNELS_DIR={}", kernels_dir_));
  }
  log_(LogLevel::debug, fmt::format("kernel sources: {}", found->origin()));
  return found;
}

const jit::NvrtcIdentity& CompileService::identity() {
  const auto lazy = toolchain_.lock();
  if (!lazy->identity) lazy->identity = std::make_unique<const jit::NvrtcIdentity>(jit::identify_nvrtc(nvrtc_path_));
  return *lazy->identity;
}

const jit::Nvrtc& CompileService::nvrtc() {
  const jit::NvrtcIdentity& wanted = identity();
  const auto lazy = toolchain_.lock();
  if (!lazy->nvrtc) lazy->nvrtc = std::make_unique<const jit::Nvrtc>(wanted);
  return *lazy->nvrtc;
}

/// Null where there is none, or none that loads.
const jit::Nvrtc* CompileService::usable_nvrtc() {
  if (mode_ == CacheMode::only) return nullptr;
  try {
    return &nvrtc();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::no_nvrtc) throw;
    return nullptr;
  }
}

/// In mode only nothing is compiled: nobody even looks for a compiler.
CompileService::CompileRequest CompileService::make_request(const Specialized& specialized, const Arch& arch, By by) {
  CompileRequest request{
      .specialized = specialized, .program = jit::make_program(specialized.program, arch), .key_document = {}};
  const jit::NvrtcIdentity* compiler = nullptr;
  try {
    if (by == By::this_compiler && mode_ != CacheMode::only) compiler = &identity();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::no_nvrtc) throw;
    request.no_compiler = std::current_exception();
  }
  request.sources = sources(request.program.header);
  const std::vector<util::KeyField> fields = jit::key_fields(request.program, *request.sources, compiler);
  request.digest = util::key_digest(fields);
  request.key_document = util::key_document(fields);
  request.any_compiler = compiler == nullptr;
  return request;
}

Resolution CompileService::get(const Specialized& specialized, const Arch& arch) {
  const CompileRequest request = make_request(specialized, arch);
  if (auto found = find(request)) return *std::move(found);
  return get_missed(request);
}

/// What find() did not find.
Resolution CompileService::get_missed(const CompileRequest& request) {
  try {
    cache::EntryRequest wanted = request.for_cache();
    wanted.missed = true;
    wanted.hopeless = is_hopeless(request);
    auto got = cache_.get(wanted, [&] { return compile(request); });
    return {std::move(got.value), got.origin};
  } catch (const Error& error) {
    // The files are there, by which entries are found, and do not load.
    if (error.code() != ErrorCode::no_nvrtc || request.any_compiler) throw;
    auto found = find(make_request(request.specialized, request.program.arch, By::any_compiler));
    if (!found) throw;
    return *std::move(found);
  }
}

std::optional<Resolution> CompileService::find(const CompileRequest& request) {
  auto found = cache_.find(request.for_cache());
  if (!found) return std::nullopt;
  return Resolution{std::move(found->value), found->origin};
}

Resolution CompileService::get(const std::vector<Choice>& choices) {
  const CompileRequest own = make_request(choices.front().specialized, choices.front().arch);
  if (auto found = find(own)) return *std::move(found);
  // NVRTC is not loaded before something has to be compiled.
  const jit::Nvrtc* const nvrtc = usable_nvrtc();
  if (nvrtc != nullptr && nvrtc->supports(choices.front().arch)) return get_missed(own);
  for (std::size_t i = own.any_compiler ? 1 : 0; i < choices.size(); ++i) {
    const auto& [arch, specialized] = choices[i];
    std::optional<Resolution> got;
    if (nvrtc != nullptr && nvrtc->supports(arch)) {
      got = get(specialized, arch);
    } else {
      got = find(make_request(specialized, arch, By::any_compiler));
    }
    if (!got) continue;
    got->choice = i;
    if (i > 0) {
      warn_of_step(choices, i,
                   nvrtc != nullptr           ? "NVRTC " + nvrtc->identity().version + " does not know it"
                   : mode_ == CacheMode::only ? "the cache mode \"only\" compiles nothing"
                                              : "there is no NVRTC here");
    }
    return *std::move(got);
  }
  return get_missed(own);
}

void CompileService::warn_of_step(const std::vector<Choice>& choices, std::size_t taken, const std::string& reason) {
  const std::string own = to_string(choices.front().arch);
  const std::string other = to_string(choices[taken].arch);
  if (!toolchain_.lock()->steps.insert(own + " " + other).second) return;
  log_(LogLevel::warn, fmt::format("code for {} is used where {} would be best: no cache directory has that, and {}{}",
                                   other, own, reason,
                                   choices[taken].arch.ptx_only && !choices.front().arch.ptx_only
                                       ? "; the driver compiles the rest, which takes a while at the first load"
                                       : ""));
}

std::optional<Resolution> CompileService::other_than(const std::vector<SharedArtifact>& refused, const Choice& choice,
                                                     bool maybe_damaged) {
  const SharedArtifact& last = refused.back();
  if (last->origin != Origin::disk) return std::nullopt;
  const auto as_got = [&](cache::Cache<Artifact>::Lookup got) -> std::optional<Resolution> {
    if (got.value == last) return std::nullopt;
    return Resolution{std::move(got.value), got.origin};
  };

  const CompileRequest request = make_request(choice.specialized, choice.arch);
  const jit::Nvrtc* const nvrtc = usable_nvrtc();
  const bool by_this_compiler = last->key == util::to_hex(request.digest);
  if (nvrtc != nullptr && nvrtc->supports(choice.arch)) {
    // The same compiler makes the same bytes.
    if (by_this_compiler && !maybe_damaged) return std::nullopt;
    const auto differs = [&](const cache::Entry& made) { return made.cubin != last->cubin || made.ptx != last->ptx; };
    return as_got(cache_.replace(request.for_cache(), last, [&] {
      return cache_.tiers().make_anew(
          request.for_cache(), [&] { return compile(request); }, differs);
    }));
  }
  const CompileRequest any = make_request(choice.specialized, choice.arch, By::any_compiler);
  std::vector<util::Digest> keys(refused.size());
  for (std::size_t i = 0; i < refused.size(); ++i) util::from_hex(refused[i]->key, keys[i]);
  return as_got(cache_.replace(any.for_cache(), last, [&] { return cache_.tiers().find(any.for_cache(), keys); }));
}

CompileService::EntryState CompileService::store(const Specialized& specialized, const Arch& arch) {
  const CompileRequest request = make_request(specialized, arch);
  // Before a directory is made for nothing.
  if (request.no_compiler && !cache_.tiers().locate(request.for_cache())) std::rethrow_exception(request.no_compiler);
  cache::EntryRequest wanted = request.for_cache();
  wanted.hopeless = is_hopeless(request);
  const cache::TierEntry fetched = cache_.tiers().fetch(wanted, [&] { return compile(request); });
  const cache::Entry& entry = fetched.entry;
  return {.was_there = fetched.origin == Origin::disk,
          .bytes = entry.key_document.size() + entry.meta.size() + entry.cubin.size() + entry.ptx.size() +
                   entry.source.size()};
}

bool CompileService::holds(const Specialized& specialized, const Arch& arch) {
  return cache_.tiers().locate(make_request(specialized, arch).for_cache()).has_value();
}

/// Asked before a directory is made. Where there is one, NVRTC is not loaded to wait for another process's compile.
bool CompileService::is_hopeless(const CompileRequest& request) {
  if (request.no_compiler || !cache_.tiers().lacks_directory()) return false;
  const jit::Nvrtc* const nvrtc = usable_nvrtc();
  return nvrtc == nullptr || !nvrtc->supports(request.program.arch);
}

cache::Entry CompileService::compile(const CompileRequest& request) {
  if (request.no_compiler) std::rethrow_exception(request.no_compiler);
  jit::Compiled compiled = nvrtc().compile(request.program, *request.sources);
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
  const CompileRequest request = make_request(specialized, arch);
  CacheExplanation explanation{.key = util::to_hex(request.digest), .key_document = request.key_document};
  if (const auto found = cache_.tiers().locate(request.for_cache())) {
    explanation.key = util::to_hex(*found);
    explanation.cached = true;
    return explanation;
  }
  if (const auto nearest = cache_.tiers().nearest(request.key_document)) {
    explanation.nearest_key = nearest->key;
    explanation.nearest_path = nearest->path;
    explanation.differences = nearest->differences;
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
