// What the files of `librt cache` share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/librt/verb.hpp"

namespace librt::tool {

struct CacheSettings {
  bool json = false;
  std::string dir;
  std::string key;
  bool repair = false;
  std::vector<std::string> words;  // KERNEL key=value...
  std::string arch;
  std::string output;
  bool ptx = false;
  bool dry_run = false;
  std::string max_size;
  std::string older_than;
  std::string manifest;
  std::vector<std::string> archs;
  unsigned jobs = 0;
  bool list = false;
};

/// Those of the environment; --dir alone, which may be relative, where it was given.
Options options_of(const CacheSettings& settings);
/// Where the cache is; CannotError, which says what would help, if nowhere.
CacheLocation require_location(const CacheSettings& settings);
/// The same for verbs that make no cache: a --dir that holds none is a UsageError. The cache that is used without --dir
/// may be one that nobody has filled yet.
CacheLocation require_cache(const CacheSettings& settings);
std::string short_key(const std::string& key);
/// "2026-11-24 08:00:00 UTC"
std::string date_of(std::int64_t seconds_since_1970);
/// "1 entry", "2 entries"
std::string entries_in_words(std::uint64_t number);

Json to_json(const CacheEntry& entry);

int cache_show_entry(const CacheSettings& settings);
int cache_why(const CacheSettings& settings);
int cache_print_stats(const CacheSettings& settings);
int cache_gc(const CacheSettings& settings);
int cache_extract_file(const CacheSettings& settings);
int cache_rm(const CacheSettings& settings);
int cache_prewarm(const CacheSettings& settings);

}  // namespace librt::tool
