#include "src/api/prewarm.hpp"

#include <librt/cache.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "src/api/boundary.hpp"
#include "src/api/cache_words.hpp"
#include "src/api/specialize.hpp"
#include "src/cache/probe.hpp"
#include "src/device/device.hpp"
#include "src/util/for_each_index.hpp"

namespace librt::api {
namespace {

/// One program and what became of it. Written by the thread that took it, read when all threads are done.
struct Work {
  PrewarmProgram program;
  std::optional<Specialized> specialized{};  // unset where the spec is refused: `failure` says why
  std::optional<PrewarmFailure> failure{};
  bool was_there = false;
  std::uint64_t bytes = 0;
};

PrewarmFailure failure_of(const PrewarmProgram& program, const Error& error) {
  return {.program = program, .code = error.code(), .error = error.what(), .detail = error.detail()};
}

/// With what GPUs ask for where that is another one: what is named stays, since compile() may be asked for it.
std::vector<Arch> archs_to_make(std::span<const Arch> wanted) {
  std::vector<Arch> archs;
  const auto add = [&](const Arch& arch) {
    if (std::ranges::find(archs, arch) == archs.end()) archs.push_back(arch);
  };
  for (const Arch& arch : wanted) {
    add(arch);
    if (!arch.ptx_only && arch.suffix == 0) add(device::gpu_arch(arch.sm));
  }
  return archs;
}

/// Each distinct program once, in the order of archs and specs; the merges last, since they are quickly compiled: what
/// is short at the end leaves no thread without work for long.
std::vector<Work> list_work(std::span<const Spec> specs, std::span<const Arch> archs) {
  std::vector<Work> list;
  std::unordered_set<std::string> known;
  for (const Arch& arch : archs) {
    const std::string target = to_string(arch);
    for (const Spec& spec : specs) {
      const PrewarmProgram program{.kernel = std::string(kernel_name(spec)), .spec = spec, .arch = arch};
      try {
        const std::optional<Spec> merge = merge_of(spec);
        for (const Spec* const each : {&spec, merge ? &*merge : nullptr}) {
          if (each == nullptr) continue;
          Specialized specialized = specialize(*each, arch);
          if (!known
                   .insert(jit::make_program(specialized.program, arch).source + specialized.program.spec_json + target)
                   .second)
            continue;
          list.push_back({.program = program, .specialized = std::move(specialized)});
          list.back().program.kernel = each->kernel();
        }
      } catch (const Error& error) {
        list.push_back({.program = program, .failure = failure_of(program, error)});
      } catch (const std::bad_alloc&) {
        throw;
      } catch (const std::exception& error) {  // of a kernel's description
        list.push_back(
            {.program = program,
             .failure = PrewarmFailure{.program = program, .code = ErrorCode::internal, .error = error.what()}});
      }
    }
  }
  std::ranges::stable_partition(list,
                                [](const Work& each) { return each.program.kernel == each.program.spec.kernel(); });
  return list;
}

/// Before anything is compiled that could not be kept. A directory that is complete already may be read-only.
void require_room(CompileService& compiler, const Options& options, const std::vector<Work>& list) {
  const auto is_there = [&](const Work& each) {
    try {
      return !each.specialized || compiler.holds(*each.specialized, each.program.arch);
    } catch (const Error&) {  // comes again with the work, and into the report
      return true;
    }
  };
  if (std::ranges::all_of(list, is_there)) return;
  const std::string path = cache_location(options).path;
  const std::string problem = cache::store_problem(path, {.trust = options.cache_trust});
  if (problem.empty()) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("the cache directory {} cannot be filled: {}", path, problem));
}

class Prewarm {
 public:
  Prewarm(CompileService& compiler, const Options& options, const PrewarmOptions& how, std::vector<Work> list)
      : compiler_(compiler),
        options_(options),
        progress_(how.progress),
        unwritten_before_(compiler.stats().publish_failed),
        list_(std::move(list)) {}

  void run(unsigned threads) {
    util::for_each_index(list_.size(), threads, [this](std::size_t i) {
      store(list_[i]);
      const std::lock_guard lock(mutex_);
      ++done_;
      if (progress_) call_caller([&] { progress_(done_, list_.size(), list_[i].program); });
    });
  }

  PrewarmReport report() {
    PrewarmReport report{.requested = list_.size()};
    for (Work& each : list_) {
      if (each.failure) {
        report.failed.push_back(*std::move(each.failure));
        continue;
      }
      ++(each.was_there ? report.already_there : report.compiled);
      report.bytes += each.bytes;
      // What a later one's publishing removed, to keep the bound, was there only for a while.
      if (!compiler_.holds(*each.specialized, each.program.arch)) ++report.evicted;
    }
    return report;
  }

 private:
  void store(Work& item) {
    if (!item.specialized) return;
    try {
      const CompileService::EntryState stored = compiler_.store(*item.specialized, item.program.arch);
      item.was_there = stored.was_there;
      item.bytes = stored.bytes;
      const bool kept = stored.was_there || compiler_.holds(*item.specialized, item.program.arch);
      if (!kept && compiler_.stats().publish_failed != unwritten_before_) item.failure = unwritten(item.program);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::no_nvrtc) throw;  // so it would be for all others
      item.failure = failure_of(item.program, error);
    }
  }

  PrewarmFailure unwritten(const PrewarmProgram& program) const {
    return {.program = program,
            .code = ErrorCode::io,
            .error = fmt::format("compiled, but it could not be written to {}; the log says why",
                                 cache_location(options_).path)};
  }

  CompileService& compiler_;
  const Options& options_;
  const std::function<void(std::size_t, std::size_t, const PrewarmProgram&)>& progress_;
  const std::uint64_t unwritten_before_;
  std::vector<Work> list_;
  std::mutex mutex_;
  std::size_t done_ = 0;
};

}  // namespace

PrewarmReport prewarm(CompileService& compiler, const Options& options, const PrewarmRequest& wanted,
                      const PrewarmOptions& how) {
  if (wanted.archs.empty()) throw Error(ErrorCode::invalid_argument, "archs is empty; allowed: at least one");
  if (options.cache_mode != CacheMode::rw) {
    throw Error(ErrorCode::invalid_argument, "cache_mode does not let a prewarm write; allowed: rw");
  }
  if (const CacheLocation location = cache_location(options); location.path.empty()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("there is no cache directory to fill: {}; set cache_dir", location.reason));
  }
  const auto begin = std::chrono::steady_clock::now();
  std::vector<Arch> archs = archs_to_make(wanted.archs);
  std::vector<Work> list = list_work(wanted.specs, archs);
  require_room(compiler, options, list);
  Prewarm prewarm(compiler, options, how, std::move(list));
  prewarm.run(how.threads);
  PrewarmReport report = prewarm.report();
  report.archs = std::move(archs);
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

}  // namespace librt::api
