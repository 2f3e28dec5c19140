// librt cache: why something is not there, what its users did, and what is removed or taken out.
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include "src/util/files.hpp"
#include "src/util/text.hpp"
#include "tools/librt/cache_verbs.hpp"
#include "tools/librt/output_file.hpp"
#include "tools/librt/table.hpp"
#include "tools/librt/typed.hpp"

namespace librt::tool {
namespace {

constexpr std::size_t kShownValue = 40;

std::optional<std::uint64_t> bytes_of(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto bytes = parse_size(text);
  if (!bytes)
    throw UsageError(
        fmt::format("--max-size={} is not a size; allowed: a number with or without K, M, G", util::shown(text)));
  return bytes;
}

/// "90s", "45m", "12h", "30d".
std::int64_t seconds_of(const std::string& text) {
  constexpr std::array<std::pair<char, std::int64_t>, 4> kUnits = {{{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}}};
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && number >= 0 && number <= 1'000'000 && end - unit == 1) {
    for (const auto& [letter, seconds] : kUnits) {
      if (*unit == letter) return number * seconds;
    }
  }
  throw UsageError(
      fmt::format("--older-than={} is not an age; allowed: 0..1000000 with s, m, h or d", util::shown(text)));
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? "" : fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

}  // namespace

int cache_why(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  const Spec spec = typed_spec(settings.words);
  const Arch arch = typed_arch(settings.arch);
  Options options = options_of(settings);
  if (options.cache_mode != CacheMode::only) options.cache_mode = CacheMode::ro;  // looking is not using
  const CacheExplanation explanation = Runtime(options).explain(spec, arch);
  if (settings.json) {
    Json differences = Json::array();
    for (const CacheDifference& each : explanation.differences) {
      differences.push_back({{"field", each.field}, {"wanted", each.wanted}, {"found", each.found}});
    }
    Json json{{"key", explanation.key}, {"cached", explanation.cached}, {"nearest", nullptr}};
    if (!explanation.nearest_key.empty()) json["nearest"] = explanation.nearest_key;
    json["differences"] = differences;
    json["key_document"] = Json::parse(explanation.key_document, nullptr, false);
    print_json(json);
    return kDone;
  }
  if (explanation.cached) {
    print(table({{{"hit", Style::good}, explanation.key}}));
    return kDone;
  }
  print(table({{{"miss", Style::warning}, explanation.key}}));
  if (explanation.nearest_key.empty()) {
    print(paragraph(fmt::format("no entry in {} to compare it with", util::printable(location.path)),
                    columns_of(Stream::out), LongWords::keep));
    return kDone;
  }
  print(paragraph(fmt::format("the nearest entry, {}, differs in", short_key(explanation.nearest_key)),
                  columns_of(Stream::out), LongWords::keep));
  Rows rows;
  for (const CacheDifference& each : explanation.differences) {
    rows.push_back({"  " + each.field, util::shown(each.wanted, kShownValue), util::shown(each.found, kShownValue)});
  }
  print(table({{"  FIELD"}, {.heading = "WANTED", .fit = Fit::shorten}, {.heading = "THERE", .fit = Fit::shorten}},
              rows));
  return kDone;
}

int cache_print_stats(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  const CacheStats stats = cache_stats(options_of(settings));
  if (settings.json) {
    print_json(Json{{"path", location.path},
                    {"since", stats.since},
                    {"lookups", stats.lookups},
                    {"memory_hits", stats.memory_hits},
                    {"disk_hits", stats.disk_hits},
                    {"read_only_hits", stats.read_only_hits},
                    {"compiled", stats.compiled},
                    {"failed", stats.failed},
                    {"refused", stats.refused},
                    {"corrupt", stats.corrupt},
                    {"untrusted", stats.untrusted},
                    {"publish_failed", stats.publish_failed},
                    {"lock_waits", stats.lock_waits},
                    {"lock_wait_ms", stats.lock_wait_ms},
                    {"lock_degraded", stats.lock_degraded},
                    {"compile_ms", stats.compile_ms},
                    {"evicted", stats.evicted},
                    {"entries", stats.entries},
                    {"bytes", stats.bytes}});
    return kDone;
  }
  const auto row = [&](const char* name, std::uint64_t number, std::string more = {}) {
    return std::vector<Cell>{name, std::to_string(number), std::move(more)};
  };
  print(table(
      {{}, {.right = true}, {}},
      {row("lookups", stats.lookups, stats.since == 0 ? "" : "since " + date_of(stats.since)),
       row("from memory", stats.memory_hits, percent(stats.memory_hits, stats.lookups)),
       row("from disk", stats.disk_hits, percent(stats.disk_hits, stats.lookups)),
       row("compiled", stats.compiled, fmt::format("in {:.1f} s", static_cast<double>(stats.compile_ms) / 1e3)),
       row("failed", stats.failed), row("refused", stats.refused), row("corrupt", stats.corrupt),
       row("untrusted", stats.untrusted), row("not written", stats.publish_failed),
       row("lock waits", stats.lock_waits, fmt::format("{:.1f} s", static_cast<double>(stats.lock_wait_ms) / 1e3)),
       row("without lock", stats.lock_degraded), row("evicted", stats.evicted),
       row("entries", stats.entries, with_unit(stats.bytes))}));
  return kDone;
}

int cache_gc(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  CacheCollectOptions options{.max_bytes = bytes_of(settings.max_size), .dry_run = settings.dry_run};
  if (!settings.older_than.empty()) options.unused_for_seconds = seconds_of(settings.older_than);
  const CacheCollected collected = cache_collect(options, options_of(settings));
  if (settings.json) {
    print_json(Json{{"path", location.path},
                    {"dry_run", settings.dry_run},
                    {"entries", collected.entries},
                    {"bytes", collected.bytes},
                    {"removed_entries", collected.removed_entries},
                    {"removed_bytes", collected.removed_bytes},
                    {"removed_temporaries", collected.removed_temporaries},
                    {"removed_locks", collected.removed_locks},
                    {"removed_keys", collected.removed_keys}});
    return kDone;
  }
  if (settings.dry_run) {
    for (const std::string& key : collected.removed_keys) print(key + "\n");
  }
  say(fmt::format("{} {}, {}, of {}, {}; and {} temporary files, {} locks",
                  settings.dry_run ? "would remove" : "removed", entries_in_words(collected.removed_entries),
                  with_unit(collected.removed_bytes), entries_in_words(collected.entries), with_unit(collected.bytes),
                  collected.removed_temporaries, collected.removed_locks));
  return kDone;
}

int cache_extract_file(const CacheSettings& settings) {
  require_cache(settings);
  const Options options = options_of(settings);
  require_output("-o", settings.output, files_of(options));
  const Artifact artifact = cache_extract(settings.key, options);
  const bool ptx = settings.ptx || artifact.cubin.empty();
  const auto bytes = ptx ? std::as_bytes(std::span(artifact.ptx)) : std::span<const std::byte>(artifact.cubin);
  util::write_file(settings.output, bytes);
  const char* const kind = ptx ? "PTX" : "cubin";
  if (settings.json) {
    print_json(Json{{"key", artifact.key},
                    {"path", settings.output},
                    {"kind", ptx ? "ptx" : "cubin"},
                    {"bytes", bytes.size()},
                    {"entry", artifact.entry},
                    {"target", to_string(artifact.arch)}});
  } else {
    say(fmt::format("wrote the {} of {} for {}, {}, to {}", kind, artifact.kernel, to_string(artifact.arch),
                    with_unit(bytes.size()), settings.output));
  }
  return kDone;
}

int cache_rm(const CacheSettings& settings) {
  require_cache(settings);
  const std::string path = cache_remove(settings.key, options_of(settings));
  if (settings.json) {
    print_json(Json{{"removed", path}});
  } else {
    say(fmt::format("removed {}", path));
  }
  return kDone;
}

}  // namespace librt::tool
