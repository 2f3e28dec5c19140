// Times of the compile path and of the caches.
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <memory>
#include <span>
#include <system_error>
#include <unordered_map>

#include "src/util/files.hpp"
#include "src/util/hash.hpp"
#include "tools/librt/bench.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

constexpr GqaDecodeSpec kSpec{
    .dtype = DType::bf16, .num_qo_heads = 32, .num_kv_heads = 8, .head_dim = 128, .page_size = 16};

constexpr int kCalls = 20000;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 24;

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((std::filesystem::temp_directory_path() / "librt-bench-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) throw std::system_error(errno, std::generic_category(), path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Options options_in(const TemporaryDirectory& directory) {
  Options options = options_from_environment();
  options.cache_dir = directory.path();
  options.cache_mode = CacheMode::rw;
  options.device = "virtual:sm_80";
  return options;
}

void require_origin(Origin origin, Origin expected) {
  if (origin != expected) {
    throw Error(ErrorCode::internal, "a measurement expected the origin " + std::string(to_string(expected)) +
                                         " and got " + std::string(to_string(origin)));
  }
}

/// What rt.compile adds to the compiler's own time, in a cache that is empty each time.
double overhead_ms(const Arch& arch) {
  return best_of(5, [&] {
    const TemporaryDirectory directory;
    Runtime runtime(options_in(directory));
    const Stopwatch watch;
    const Artifact artifact = runtime.compile(kSpec, arch);
    const double total_ms = watch.seconds() * 1e3;
    require_origin(artifact.origin, Origin::compiled);
    return total_ms - artifact.compile_ms;
  });
}

/// What no cache that verifies its bytes can do without: the file read whole and hashed.
double raw_read_hash_ms(const std::string& path) {
  return best_of(200, [&] {
    const Stopwatch watch;
    const util::Digest digest = util::hash(std::span<const std::byte>(util::read_file(path, kMaxFileBytes)));
    const double seconds = watch.seconds();
    if (digest == util::Digest{}) throw Error(ErrorCode::internal, "a hash of all zeros");
    return seconds * 1e3;
  });
}

/// The same key in a plain map: no threads, no counts.
double map_lookup_ns() {
  std::unordered_map<Spec, std::shared_ptr<int>> map;
  map.emplace(kSpec, std::make_shared<int>(0));
  const Spec spec = kSpec;
  return best_of(20, [&] {
    long uses = 0;
    const Stopwatch watch;
    for (int i = 0; i < kCalls; ++i) {
      const std::shared_ptr<int> found = map.find(spec)->second;
      uses += found.use_count();
    }
    const double seconds = watch.seconds();
    if (uses != 2L * kCalls) throw Error(ErrorCode::internal, "a map lost its value");
    return seconds * 1e9 / kCalls;
  });
}

/// Into an empty directory; seconds.
double prewarm_s(unsigned threads, const Arch& arch) {
  const TemporaryDirectory directory;
  Runtime runtime(options_in(directory));
  // Eight decode kernels that take about the same time and two merges, so that two threads can share them evenly.
  const Manifest manifest = parse_manifest(
      R"({"specs": ["gqa_decode dtype=bf16,f16 num_qo_heads=8 num_kv_heads=8 head_dim=64 page_size=16,32,64,128"]})",
      "bench");
  const PrewarmReport report = runtime.prewarm(manifest.specs, {&arch, 1}, {.threads = threads});
  if (report.compiled != report.requested) throw Error(ErrorCode::internal, "a prewarm was not complete");
  return report.seconds;
}

struct PrewarmTimes {
  double one_thread_s = std::numeric_limits<double>::infinity();
  double two_threads_s = std::numeric_limits<double>::infinity();
};

/// In turns, so that what else the machine does meets both.
PrewarmTimes prewarm_times(const Arch& arch, ProgressBar& bar) {
  constexpr int kRounds = 3;
  PrewarmTimes times;
  for (int i = 0; i < kRounds; ++i) {
    bar.next("a prewarm on one thread");
    times.one_thread_s = std::min(times.one_thread_s, prewarm_s(1, arch));
    bar.next("a prewarm on two threads");
    times.two_threads_s = std::min(times.two_threads_s, prewarm_s(2, arch));
  }
  return times;
}

}  // namespace

std::vector<Metric> measure_cache(ProgressBar& bar) {
  const Arch arch = parse_arch("sm_80");
  bar.next("compiles into an empty cache");
  const double overhead = overhead_ms(arch);

  bar.next("hits on disk");
  const TemporaryDirectory directory;
  Runtime runtime(options_in(directory));
  runtime.compile(kSpec, arch);
  const double disk = best_of(200, [&] {
    runtime.drop_memory_cache();
    const Stopwatch watch;
    const Artifact artifact = runtime.compile(kSpec, arch);
    const double seconds = watch.seconds();
    require_origin(artifact.origin, Origin::disk);
    return seconds * 1e3;
  });
  const double raw = raw_read_hash_ms(cache_list(runtime.options()).at(0).path);

  bar.next("hits in memory");
  runtime.get(kSpec);
  const double memory = best_of(20, [&] {
    const Stopwatch watch;
    for (int i = 0; i < kCalls; ++i) runtime.get(kSpec);
    return watch.seconds() * 1e9 / kCalls;
  });
  const PrewarmTimes prewarm = prewarm_times(parse_arch("sm_90a"), bar);
  return {{.name = "compile.overhead_ms", .value = overhead, .unit = "ms", .target = 20},
          {.name = "cache.disk_hit_ms", .value = disk, .unit = "ms", .target = 0.3},
          {.name = "cache.raw_read_hash_ms", .value = raw, .unit = "ms", .has_target = false},
          {.name = "cache.memory_hit_ns", .value = memory, .unit = "ns", .target = 100},
          {.name = "cache.map_lookup_ns", .value = map_lookup_ns(), .unit = "ns", .has_target = false},
          {.name = "cache.prewarm_speedup",
           .value = prewarm.one_thread_s / prewarm.two_threads_s,
           .unit = "x",
           .target = 1.7,
           .greater_is_better = true},
          {.name = "cache.prewarm_one_thread_s", .value = prewarm.one_thread_s, .unit = "s", .has_target = false}};
}

}  // namespace librt::tool
