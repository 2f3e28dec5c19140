#include <librt/cache.hpp>
#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <ranges>
#include <utility>

#include "src/api/cache_words.hpp"
#include "src/api/entry_codec.hpp"
#include "src/cache/statistics.hpp"
#include "src/cache/store.hpp"
#include "src/jit/binary_info.hpp"
#include "src/util/env.hpp"
#include "src/util/files.hpp"
#include "src/util/log.hpp"

namespace librt {
namespace {

constexpr std::size_t kShortestPrefix = 4;

cache::Store open_store(const std::string& path) {
  // As Options::from_env() would say it, without the other variables, which do not matter here.
  const bool shared = util::env("LIBRT_CACHE_TRUST") == "shared";
  return {path, util::Log([](LogLevel, std::string_view) {}, LogLevel::error), api::validate_entry,
          cache::StoreOptions{.trust = shared ? cache::Trust::shared : cache::Trust::own}};
}

/// Nothing where there is no directory.
std::optional<cache::Store> located_store(std::string_view cache_dir) {
  const cache::Location location = cache::locate(cache_dir);
  if (location.path.empty()) return std::nullopt;
  return open_store(location.path);
}

std::vector<cache::StoredFile> scan(std::string_view cache_dir) {
  const auto store = located_store(cache_dir);
  return store ? store->scan() : std::vector<cache::StoredFile>{};
}

std::string spec_of(const cache::Entry& entry) {
  const auto document = nlohmann::json::parse(entry.key_document, nullptr, false);
  return document.is_object() && document.contains("spec") ? document["spec"].dump() : std::string{};
}

CacheEntry summary(const cache::StoredFile& file) {
  const api::EntryMeta meta = api::read_meta(file.entry->meta);
  return {.key = file.key,
          .path = file.path,
          .kernel = meta.kernel,
          .spec = spec_of(*file.entry),
          .target = meta.target,
          .nvrtc = meta.nvrtc,
          .file_bytes = file.bytes,
          .created = meta.created,
          .last_used = file.last_used,
          .compile_ms = meta.compile_ms};
}

CacheEntryDetail detail_of(const cache::StoredFile& file) {
  const cache::Entry& entry = *file.entry;
  const api::EntryMeta meta = api::read_meta(entry.meta);
  CacheEntryDetail detail{.entry = summary(file),
                          .key_document = entry.key_document,
                          .source = entry.source,
                          .log = meta.log,
                          .cubin_bytes = entry.cubin.size(),
                          .ptx_bytes = entry.ptx.size(),
                          .entry_symbol = meta.entry,
                          .block_threads = meta.block_threads,
                          .shared_bytes = meta.shared_bytes};
  if (entry.cubin.empty()) return detail;
  const jit::CubinInfo info = jit::read_cubin(entry.cubin);
  const auto kernel = std::ranges::find(info.kernels, meta.entry, &jit::CubinKernel::name);
  if (kernel != info.kernels.end()) detail.resources = kernel->resources;
  return detail;
}

bool is_lower_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// The one sound entry whose key begins like this.
cache::StoredFile the_entry(std::string_view key, std::string_view cache_dir) {
  if (key.size() < kShortestPrefix || !is_lower_hex(key)) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("key \"{}\" is not a key; allowed: at least {} lower-case hex digits", key, kShortestPrefix));
  }
  std::optional<cache::StoredFile> match;
  for (cache::StoredFile& file : scan(cache_dir)) {
    if (!file.entry || !file.key.starts_with(key)) continue;
    if (match) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("key \"{}\" is ambiguous: {} and {}", key, match->key, file.key));
    }
    match = std::move(file);
  }
  if (!match) throw Error(ErrorCode::invalid_argument, fmt::format("key \"{}\" is not in the cache", key));
  return *std::move(match);
}

}  // namespace

std::string_view to_string(CacheFinding finding) noexcept {
  switch (finding) {
    case CacheFinding::ok:
      return "ok";
    case CacheFinding::corrupt:
      return "corrupt";
    case CacheFinding::untrusted:
      return "untrusted";
  }
  return "unknown";
}

CacheLocation cache_location(std::string_view cache_dir) {
  cache::Location location = cache::locate(cache_dir);
  return {.path = std::move(location.path), .reason = std::move(location.reason)};
}

std::vector<CacheEntry> cache_list(std::string_view cache_dir) {
  std::vector<CacheEntry> entries;
  for (const cache::StoredFile& file : scan(cache_dir)) {
    if (file.entry) entries.push_back(summary(file));
  }
  std::ranges::stable_sort(entries, std::ranges::greater{}, &CacheEntry::last_used);
  return entries;
}

CacheEntryDetail cache_show(std::string_view key, std::string_view cache_dir) {
  return detail_of(the_entry(key, cache_dir));
}

Artifact cache_extract(std::string_view key, std::string_view cache_dir) {
  cache::StoredFile file = the_entry(key, cache_dir);
  util::Digest digest{};
  util::from_hex(file.key, digest);
  return api::to_artifact(digest, *std::move(file.entry), Origin::disk);
}

std::vector<CacheVerdict> cache_verify(std::string_view cache_dir) {
  std::vector<CacheVerdict> verdicts;
  for (cache::StoredFile& file : scan(cache_dir)) {
    const auto finding = file.finding == cache::Finding::ok        ? CacheFinding::ok
                         : file.finding == cache::Finding::corrupt ? CacheFinding::corrupt
                                                                   : CacheFinding::untrusted;
    verdicts.push_back({.path = std::move(file.path), .finding = finding, .reason = std::move(file.reason)});
  }
  return verdicts;
}

std::size_t cache_repair(std::string_view cache_dir) {
  auto store = located_store(cache_dir);
  return store ? store->repair() : 0;
}

CacheStats cache_stats(std::string_view cache_dir) {
  CacheStats stats;
  auto store = located_store(cache_dir);
  if (!store) return stats;
  const cache::Totals totals = cache::read_totals(store->root(), store->access());
  const cache::Collected inventory = store->collect({.dry_run = true});
  static_cast<RuntimeStats&>(stats) = api::runtime_stats(totals.counts);
  stats.since = totals.since;
  stats.entries = inventory.entries;
  stats.bytes = inventory.bytes;
  return stats;
}

CacheCollected cache_collect(const CacheCollectOptions& options, std::string_view cache_dir) {
  auto store = located_store(cache_dir);
  if (!store) return {};
  cache::CollectOptions what{
      .max_bytes = options.max_bytes, .dry_run = options.dry_run, .lock_timeout = std::chrono::seconds(5)};
  if (options.unused_for_seconds) what.unused_for = std::chrono::seconds(*options.unused_for_seconds);
  cache::Collected collected = store->collect(what);
  if (!collected.done) throw Error(ErrorCode::io, fmt::format("nothing was collected: {}", collected.problem));
  return {.entries = collected.entries,
          .bytes = collected.bytes,
          .removed_entries = collected.removed_entries,
          .removed_bytes = collected.removed_bytes,
          .removed_temporaries = collected.removed_temporaries,
          .removed_locks = collected.removed_locks,
          .removed_keys = std::move(collected.removed_keys)};
}

std::string cache_remove(std::string_view key, std::string_view cache_dir) {
  auto store = located_store(cache_dir);
  util::Digest digest{};
  if (!util::from_hex(key, digest)) util::from_hex(the_entry(key, cache_dir).key, digest);
  if (!store || !store->remove(digest)) {
    throw Error(ErrorCode::io,
                fmt::format("{} cannot be removed: {}", store ? store->path_of(digest) : std::string(key),
                            util::error_text(store ? errno : ENOENT)));
  }
  return store->path_of(digest);
}

std::size_t cache_clear(std::string_view cache_dir) {
  auto store = located_store(cache_dir);
  return store ? store->clear() : 0;
}

}  // namespace librt
