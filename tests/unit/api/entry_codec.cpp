#include "src/api/entry_codec.hpp"

#include <librt/runtime.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "src/util/key_document.hpp"
#include "tests/unit/api/errors.hpp"

namespace librt::api {
namespace {

using nlohmann::json;

/// A sound entry made by the compiler, for one target.
const cache::Entry& sound_entry(const char* target) {
  static const auto make = [](const char* name) {
    Options options;
    options.cache_mode = CacheMode::off;
    Runtime rt(options);
    const Arch arch = parse_arch(name);
    const Spec spec = GqaDecodeSpec{.num_qo_heads = 1, .num_kv_heads = 1, .head_dim = 64, .page_size = 4};
    const Artifact artifact = rt.compile_merge(spec, arch);
    const EntryMeta meta{.kernel = artifact.kernel,
                         .entry = artifact.entry,
                         .target = name,
                         .nvrtc = "13.0",
                         .log = "a log",
                         .librt_version = "0.1.0",
                         .block_threads = artifact.block_threads,
                         .shared_bytes = artifact.shared_bytes,
                         .compile_ms = 1.5,
                         .created = 1};
    return cache::Entry{.key_document = json{{"target", name}, {"spec", json::parse(artifact.spec)}}.dump(),
                        .meta = write_meta(meta),
                        .cubin = artifact.cubin,
                        .ptx = artifact.ptx,
                        .source = artifact.source};
  };
  static const cache::Entry cubin = make("sm_90a");
  static const cache::Entry ptx = make("compute_80");
  return std::string_view(target) == "sm_90a" ? cubin : ptx;
}

std::string verdict(const char* target, const std::function<void(cache::Entry&)>& change) {
  cache::Entry entry = sound_entry(target);
  change(entry);
  return validate_entry(entry).value_or("ok");
}

std::string with_meta(const char* target, const char* name, const json& value) {
  return verdict(target, [&](cache::Entry& entry) {
    json meta = json::parse(entry.meta);
    meta[name] = value;
    entry.meta = meta.dump();
  });
}

TEST_CASE("What the compiler made is accepted and survives the way through an entry") {
  for (const char* target : {"sm_90a", "compute_80"}) {
    CHECK(verdict(target, [](cache::Entry&) {}) == "ok");
    const Artifact artifact = to_artifact({}, sound_entry(target), Origin::disk);
    CHECK(artifact.kernel == "merge_states");
    CHECK(artifact.entry == "librt_merge_states");
    CHECK(to_string(artifact.arch) == target);
    CHECK(artifact.origin == Origin::disk);
    CHECK(artifact.compile_ms == 1.5);
    CHECK(json::parse(artifact.spec)["head_dim"] == 64);
  }
}

TEST_CASE("Metadata that could size a launch is bounds-checked") {
  CHECK(with_meta("sm_90a", "block_threads", 1025) == "meta: \"block_threads\" is 1025, not within 1..1024");
  CHECK(with_meta("sm_90a", "block_threads", 0) == "meta: \"block_threads\" is 0, not within 1..1024");
  CHECK(with_meta("sm_90a", "shared_bytes", -1) == "meta: \"shared_bytes\" is -1, not within 0..232448");
  CHECK(with_meta("sm_90a", "shared_bytes", 1.5) == "meta: \"shared_bytes\" is not an integer");
  CHECK(with_meta("sm_90a", "entry", 3) == "meta: \"entry\" is not a string");
  CHECK(verdict("sm_90a", [](cache::Entry& entry) { entry.meta = "{}"; }) == "meta has no \"kernel\"");
  CHECK(verdict("sm_90a", [](cache::Entry& entry) { entry.meta = "["; }) == "meta is not a JSON object");
}

TEST_CASE("Bytes for another target or entry are refused") {
  CHECK(with_meta("sm_90a", "entry", "librt_other") == "the cubin has no kernel librt_other");
  CHECK(with_meta("compute_80", "entry", "librt_other") == "the PTX has no entry librt_other");
  CHECK(with_meta("sm_90a", "target", "sm_100a") == "meta and key document name different targets");
  CHECK(verdict("sm_90a", [](cache::Entry& entry) { entry.cubin.clear(); }) == "an entry for sm_90a lacks a cubin");
  CHECK(verdict("compute_80", [](cache::Entry& entry) { entry.cubin.resize(8); }) ==
        "an entry for compute_80 has a cubin");
  CHECK(verdict("sm_90a", [](cache::Entry& entry) { entry.ptx = sound_entry("compute_80").ptx; }) ==
        "the PTX is for sm_80, the entry for sm_90a");
  CHECK(verdict("sm_90a", [](cache::Entry& entry) { entry.cubin.resize(100); }) != "ok");
}

}  // namespace
}  // namespace librt::api
