#include <librt/cache.hpp>
#include <librt/error.hpp>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <ranges>
#include <utility>

#include "src/api/entry_codec.hpp"
#include "src/cache/store.hpp"
#include "src/jit/binary_info.hpp"
#include "src/util/log.hpp"

namespace librt {
namespace {

constexpr std::size_t kShortestPrefix = 4;

cache::Store open_store(const std::string& path) {
  return {path, util::Log([](LogLevel, std::string_view) {}, LogLevel::error), api::validate_entry};
}

std::vector<cache::StoredFile> scan(std::string_view cache_dir) {
  const cache::Location location = cache::locate(cache_dir);
  return location.path.empty() ? std::vector<cache::StoredFile>{} : open_store(location.path).scan();
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
  if (key.size() < kShortestPrefix || !is_lower_hex(key)) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("key \"{}\" is not a key; allowed: at least {} lower-case hex digits", key, kShortestPrefix));
  }
  const std::vector<cache::StoredFile> files = scan(cache_dir);
  const cache::StoredFile* match = nullptr;
  for (const cache::StoredFile& file : files) {
    if (!file.entry || !file.key.starts_with(key)) continue;
    if (match != nullptr) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("key \"{}\" is ambiguous: {} and {}", key, match->key, file.key));
    }
    match = &file;
  }
  if (match == nullptr) throw Error(ErrorCode::invalid_argument, fmt::format("key \"{}\" is not in the cache", key));
  return detail_of(*match);
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

std::size_t cache_clear(std::string_view cache_dir) {
  const cache::Location location = cache::locate(cache_dir);
  return location.path.empty() ? 0 : open_store(location.path).clear();
}

}  // namespace librt
