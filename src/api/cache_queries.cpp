#include <librt/cache.hpp>
#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <ranges>
#include <utility>

#include "src/api/boundary.hpp"
#include "src/api/cache_words.hpp"
#include "src/api/entry_codec.hpp"
#include "src/cache/directory.hpp"
#include "src/cache/statistics.hpp"
#include "src/cache/store.hpp"
#include "src/jit/binary_info.hpp"
#include "src/util/files.hpp"
#include "src/util/log.hpp"

namespace librt {
namespace {

constexpr std::size_t kShortestPrefix = 4;
constexpr std::size_t kKeyDigits = 2 * sizeof(util::Digest);

cache::Store open_store(const std::string& path, const Options& options) {
  return {path, util::Log([](LogLevel, std::string_view) {}, LogLevel::error), api::validate_entry,
          cache::StoreOptions{.trust = options.cache_trust}};
}

/// Nothing where there is no directory.
std::optional<cache::Store> own_store(const Options& options) {
  const cache::Location location = cache::locate(options.cache_dir);
  if (location.path.empty()) return std::nullopt;
  return open_store(location.path, options);
}

std::optional<cache::Store> store_to_change(const Options& options) {
  if (options.cache_mode != CacheMode::rw) {
    throw Error(ErrorCode::invalid_argument, "cache_mode lets nothing on disk be changed; allowed for this: rw");
  }
  auto store = own_store(options);
  if (store) {
    const auto problem = cache::store_refusal(store->root(), store->access());
    if (problem) throw Error(ErrorCode::io, problem->reason);
  }
  return store;
}

/// All that a Runtime asks, in its order.
std::vector<cache::Store> all_stores(const Options& options) {
  std::vector<cache::Store> stores;
  if (auto own = own_store(options)) stores.push_back(*std::move(own));
  for (const std::string& directory : options.cache_read_only) {
    cache::require_absolute("cache_read_only", directory);
    stores.push_back(open_store(directory, options));
  }
  return stores;
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

/// The one sound entry whose key begins like this, in the first store that has it.
cache::StoredFile the_entry(std::string_view key, const std::vector<cache::Store>& stores) {
  if (const std::string problem = api::key_problem(key); !problem.empty()) {
    throw Error(ErrorCode::invalid_argument, fmt::format("key {}", problem));
  }
  std::optional<cache::StoredFile> match;
  for (const cache::Store& store : stores) {
    store.visit(
        [&](cache::StoredFile file, const cache::Store::VisitedFile*) {
          if (!file.entry || (match && match->key == file.key)) return;
          if (match) {
            throw Error(ErrorCode::invalid_argument,
                        fmt::format("key \"{}\" is ambiguous: {} and {}", key, match->key, file.key));
          }
          match = std::move(file);
        },
        key);
  }
  if (!match) throw Error(ErrorCode::invalid_argument, fmt::format("key \"{}\" is not in the cache", key));
  return *std::move(match);
}

std::size_t removed_or_throw(const cache::Removed& removed) {
  if (!removed.problem.empty()) {
    throw Error(ErrorCode::io, fmt::format("{} entries were removed; {}", removed.entries, removed.problem));
  }
  return removed.entries;
}

}  // namespace

std::string api::key_problem(std::string_view key) {
  const bool is_lower_hex = key.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (is_lower_hex && key.size() >= kShortestPrefix && key.size() <= kKeyDigits) return {};
  return fmt::format("\"{}\" is not a key; allowed: {} to {} lower-case hex digits", key, kShortestPrefix, kKeyDigits);
}

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

CacheLocation cache_location(const Options& options) try { return cache::locate(options.cache_dir); } catch (...) {
  api::leave_with_exception();
}

std::vector<CacheEntry> cache_list(const Options& options) try {
  std::vector<CacheEntry> entries;
  for (const cache::Store& store : all_stores(options)) {
    store.visit([&](const cache::StoredFile& file, const cache::Store::VisitedFile*) {
      if (file.entry) entries.push_back(summary(file));
    });
  }
  std::ranges::stable_sort(entries, std::ranges::greater{}, &CacheEntry::last_used);
  return entries;
} catch (...) {
  api::leave_with_exception();
}

CacheEntryDetail cache_show(std::string_view key, const Options& options) try {
  return detail_of(the_entry(key, all_stores(options)));
} catch (...) {
  api::leave_with_exception();
}

Artifact cache_extract(std::string_view key, const Options& options) try {
  cache::StoredFile file = the_entry(key, all_stores(options));
  util::Digest digest{};
  util::from_hex(file.key, digest);
  return api::to_artifact(digest, *std::move(file.entry), Origin::disk);
} catch (...) {
  api::leave_with_exception();
}

std::vector<CacheVerdict> cache_verify(const Options& options) try {
  std::vector<CacheVerdict> verdicts;
  for (const cache::Store& store : all_stores(options)) {
    store.visit([&](cache::StoredFile file, const cache::Store::VisitedFile*) {
      verdicts.push_back({.path = std::move(file.path), .finding = file.finding, .reason = std::move(file.reason)});
    });
  }
  return verdicts;
} catch (...) {
  api::leave_with_exception();
}

std::size_t cache_repair(const Options& options) try {
  auto store = store_to_change(options);
  return store ? removed_or_throw(store->repair()) : 0;
} catch (...) {
  api::leave_with_exception();
}

CacheStats cache_stats(const Options& options) try {
  CacheStats stats;
  auto store = own_store(options);
  if (!store) return stats;
  const cache::Totals totals = cache::read_totals(store->root(), store->access());
  const cache::Collected inventory = store->collect({.dry_run = true});
  static_cast<RuntimeStats&>(stats) = api::runtime_stats(totals.counts);
  stats.since = totals.since;
  stats.entries = inventory.entries;
  stats.bytes = inventory.bytes;
  return stats;
} catch (...) {
  api::leave_with_exception();
}

CacheCollected cache_collect(const CacheCollectOptions& what, const Options& options) try {
  auto store = what.dry_run ? own_store(options) : store_to_change(options);
  if (!store) return {};
  cache::CollectOptions how{.max_bytes = what.max_bytes.value_or(options.cache_max_bytes),
                            .dry_run = what.dry_run,
                            .lock_timeout = std::chrono::seconds(5)};
  if (what.unused_for_seconds) how.unused_for = std::chrono::seconds(*what.unused_for_seconds);
  cache::Collected collected = store->collect(how);
  if (!collected.done) throw Error(ErrorCode::io, fmt::format("nothing was collected: {}", collected.problem));
  if (!collected.problem.empty()) {
    throw Error(ErrorCode::io, fmt::format("{} entries {} removed; {}", collected.removed_entries,
                                           what.dry_run ? "would be" : "were", collected.problem));
  }
  return collected;
} catch (...) {
  api::leave_with_exception();
}

std::string cache_remove(std::string_view key, const Options& options) try {
  std::vector<cache::Store> store;  // one, or none
  if (auto own = store_to_change(options)) store.push_back(*std::move(own));
  util::Digest digest{};
  if (!util::from_hex(key, digest)) util::from_hex(the_entry(key, store).key, digest);
  if (store.empty() || !store.front().remove(digest)) {
    throw Error(ErrorCode::io, fmt::format("{} cannot be removed: {}",
                                           store.empty() ? std::string(key) : store.front().path_of(digest),
                                           util::error_text(store.empty() ? ENOENT : errno)));
  }
  return store.front().path_of(digest);
} catch (...) {
  api::leave_with_exception();
}

std::size_t cache_clear(const Options& options) try {
  auto store = store_to_change(options);
  return store ? removed_or_throw(store->clear()) : 0;
} catch (...) {
  api::leave_with_exception();
}

}  // namespace librt
