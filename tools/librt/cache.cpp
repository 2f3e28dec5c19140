// librt cache: what is in the disk cache, and whether it is sound.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <numeric>

#include "src/api/cache_words.hpp"
#include "src/cache/directory.hpp"
#include "src/util/text.hpp"
#include "tools/librt/cache_verbs.hpp"
#include "tools/librt/help_examples.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/table.hpp"

namespace librt::tool {
namespace {

constexpr std::size_t kMostPath = 4096;

int path(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  if (settings.json) {
    print_json(Json{{"path", location.path}, {"reason", location.reason}});
  } else {
    // Exactly as it is for a program, which may use it as a path.
    print((isatty(STDOUT_FILENO) == 1 ? util::printable(location.path) : location.path) + "\n");
    say(fmt::format("from {}", location.reason));
  }
  return kDone;
}

int list(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  const std::vector<CacheEntry> entries = cache_list(options_of(settings));
  if (settings.json) {
    Json json = Json::array();
    for (const CacheEntry& entry : entries) json.push_back(to_json(entry));
    print_json(Json{{"path", location.path}, {"entries", json}});
    return kDone;
  }
  if (entries.empty()) {
    say(fmt::format("no entries in {}", location.path));
    return kDone;
  }
  Rows rows;
  for (const CacheEntry& entry : entries) {
    rows.push_back({short_key(entry.key), entry.kernel, spec_words(entry.spec), entry.target,
                    with_unit(entry.file_bytes), fmt::format("{:.0f} ms", entry.compile_ms),
                    how_long_ago(entry.last_used), entry.nvrtc});
  }
  print(table({{"KEY"},
               {.heading = "KERNEL", .leaves = 5},
               {.heading = "SPEC", .fit = Fit::shorten},
               {"TARGET"},
               {.heading = "SIZE", .right = true, .leaves = 4},
               {.heading = "COMPILE", .right = true, .leaves = 2},
               {.heading = "LAST USED", .leaves = 3},
               {.heading = "NVRTC", .leaves = 1}},
              rows));
  const std::uint64_t bytes =
      std::accumulate(entries.begin(), entries.end(), std::uint64_t{0},
                      [](std::uint64_t sum, const CacheEntry& entry) { return sum + entry.file_bytes; });
  say(fmt::format("{}, {} in {}", entries_in_words(entries.size()), with_unit(bytes), location.path));
  return kDone;
}

int verify(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  std::optional<ProgressBar> bar("reading every entry");
  const std::size_t repaired = settings.repair ? cache_repair(options_of(settings)) : 0;
  const std::vector<CacheVerdict> verdicts = cache_verify(options_of(settings));
  bar.reset();
  std::size_t counts[3] = {};
  for (const CacheVerdict& verdict : verdicts) ++counts[static_cast<std::size_t>(verdict.finding)];
  const auto count = [&](CacheFinding finding) { return counts[static_cast<std::size_t>(finding)]; };
  if (settings.json) {
    Json findings = Json::array();
    for (const CacheVerdict& verdict : verdicts) {
      findings.push_back({{"path", verdict.path}, {"finding", to_string(verdict.finding)}, {"reason", verdict.reason}});
    }
    print_json(Json{{"path", location.path},
                    {"ok", count(CacheFinding::ok)},
                    {"corrupt", count(CacheFinding::corrupt)},
                    {"untrusted", count(CacheFinding::untrusted)},
                    {"repaired", repaired},
                    {"files", findings}});
  } else {
    Rows rows;
    for (const CacheFinding finding : {CacheFinding::ok, CacheFinding::corrupt, CacheFinding::untrusted}) {
      const Style style = finding == CacheFinding::ok ? Style::good : count(finding) == 0 ? Style::plain : Style::bad;
      rows.push_back({{std::string(to_string(finding)), style}, std::to_string(count(finding))});
      if (finding == CacheFinding::ok) continue;
      for (const CacheVerdict& verdict : verdicts) {
        if (verdict.finding == finding) rows.push_back({"", "", verdict.path, verdict.reason});
      }
    }
    print(table({{}, {.right = true}, {.fit = Fit::wrap}, {.fit = Fit::wrap}}, rows));
    if (repaired > 0) say(fmt::format("removed {} that could not be used", entries_in_words(repaired)));
  }
  return count(CacheFinding::corrupt) + count(CacheFinding::untrusted) == 0 ? kDone : kProblemFound;
}

int clear(const CacheSettings& settings) {
  const CacheLocation location = require_cache(settings);
  const std::size_t removed = cache_clear(options_of(settings));
  if (settings.json) {
    print_json(Json{{"path", location.path}, {"removed", removed}});
  } else {
    say(fmt::format("removed {} from {}", entries_in_words(removed), location.path));
  }
  return kDone;
}

void describe_why(CLI::App& verb, CacheSettings& settings) {
  verb.add_option("spec", settings.words, "KERNEL key=value ..., as for `librt compile`")
      ->required()
      ->type_name("KERNEL key=value...");
  verb.add_option("--arch", settings.arch, "sm_XX[a|f] or compute_XX")->required()->type_name("ARCH");
}

void describe_prewarm(CLI::App& verb, CacheSettings& settings) {
  verb.add_option("manifest", settings.manifest,
                  "A built-in manifest's name, or a file (see include/librt/manifest.hpp); default: matrix, what ships")
      ->type_name("MANIFEST");
  verb.add_option("--arch", settings.archs,
                  "sm_XX[a|f] or compute_XX, several with commas or by repeating; default: the manifest's")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("ARCH");
  verb.add_option("-j,--jobs", settings.jobs, "Compiles at a time; default: one for each core")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  verb.add_flag("--list", settings.list, "Only print the built-in manifests, and where their shapes come from");
}

void describe_gc(CLI::App& verb, CacheSettings& settings) {
  verb.add_flag("--dry-run", settings.dry_run, "Only print the keys of what would be removed");
  verb.add_option("--max-size", settings.max_size,
                  "Bytes that may stay, with or without K, M, G; 0 = no bound; default: LIBRT_CACHE_MAX_SIZE or 256M")
      ->type_name("SIZE");
  verb.add_option("--older-than", settings.older_than, "Remove also what was not used for so long, e.g. 30d, 12h")
      ->type_name("AGE");
}

}  // namespace

Json to_json(const CacheEntry& entry) {
  return Json{{"key", entry.key},
              {"path", entry.path},
              {"kernel", entry.kernel},
              {"spec", Json::parse(entry.spec, nullptr, false)},
              {"target", entry.target},
              {"nvrtc", entry.nvrtc},
              {"file_bytes", entry.file_bytes},
              {"created", entry.created},
              {"last_used", entry.last_used},
              {"compile_ms", entry.compile_ms}};
}

Options options_of(const CacheSettings& settings) {
  Options options = options_from_environment();
  if (!settings.dir.empty()) {
    options.cache_dir = std::filesystem::absolute(settings.dir).lexically_normal();
    options.cache_read_only.clear();
  }
  return options;
}

CacheLocation require_location(const CacheSettings& settings) {
  CacheLocation location = cache_location(options_of(settings));
  if (location.path.empty()) {
    throw CannotError(
        fmt::format("there is no cache directory: {}; set LIBRT_CACHE_DIR or give --dir", location.reason));
  }
  return location;
}

CacheLocation require_cache(const CacheSettings& settings) {
  CacheLocation location = require_location(settings);
  if (settings.dir.empty()) return location;
  std::error_code error;
  const auto status = std::filesystem::status(location.path, error);
  const auto refuse = [&](std::string_view what) {
    throw UsageError(fmt::format("--dir={}: {}", util::shown(location.path, kMostPath), what));
  };
  if (status.type() == std::filesystem::file_type::not_found) refuse("there is no such directory");
  if (error) refuse(error.message());
  if (!std::filesystem::is_directory(status)) refuse("not a directory");
  if (!std::filesystem::exists(location.path + "/" + cache::kFormatDirectory, error)) {
    refuse(error ? error.message()
                 : fmt::format("no cache of librt: it has no {}/; `librt cache prewarm --dir` makes one",
                               cache::kFormatDirectory));
  }
  return location;
}

std::string short_key(const std::string& key) {
  return key.substr(0, 12);
}

std::string date_of(std::int64_t seconds) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

std::string entries_in_words(std::uint64_t number) {
  return fmt::format("{} {}", number, number == 1 ? "entry" : "entries");
}

void add_cache(CLI::App& tool, int& exit_code) {
  CLI::App* const cache = tool.add_subcommand("cache", "Look at the disk cache");
  cache->require_subcommand(1);
  cache->footer("Example:\n  librt cache ls");
  auto settings = std::make_shared<CacheSettings>();
  const auto add = [&](const std::string& name, const std::string& description, const std::string& example,
                       int (*action)(const CacheSettings&)) {
    CLI::App* const verb = add_verb(*cache, name, description, example, settings->json);
    verb->add_option("--dir", settings->dir, "The cache's directory, instead of LIBRT_CACHE_DIR or the default")
        ->type_name("DIR");
    verb->callback([settings, action, &exit_code] { exit_code = action(*settings); });
    return verb;
  };
  add("path", "Print where the cache is; on stderr, why there", "librt cache path", path);
  add("ls", "List the entries, most recently used first", "librt cache ls --json", list);
  const auto add_key = [&](CLI::App* verb) {
    verb->add_option("key", settings->key, "The key, or its first 4 or more digits")
        ->required()
        ->check([](const std::string& key) { return api::key_problem(key); })
        ->type_name("KEY");
    return verb;
  };
  add_key(add("show", "Explain one entry: what it holds, and what its key is made of", "librt cache show 3fa91c02",
              cache_show_entry));
  describe_why(*add("why", "Say whether a specialization is there, and if not, what differs from the nearest entry",
                    help::kWhyExample, cache_why),
               *settings);
  describe_prewarm(
      *add("prewarm",
           "Compile all that a manifest asks for into the cache; needs no GPU. Exit code 1 if something "
           "failed, 3 if it did because this NVRTC does not know an architecture",
           "librt cache prewarm llama-3-8b --arch sm_90a,sm_100a -j 8 --dir /image/librt-cache", cache_prewarm),
      *settings);
  add("stats", "What was asked of the cache by all processes that used it", "librt cache stats --json",
      cache_print_stats);
  add("verify", "Check every byte of every entry; exit code 1 if one is damaged or not trusted",
      "librt cache verify --repair", verify)
      ->add_flag("--repair", settings->repair, "Remove what is damaged first");
  CLI::App* const extract = add_key(add("extract", "Write the cubin of an entry, or the PTX where it has no cubin",
                                        "librt cache extract 3fa91c02 -o kernel.cubin", cache_extract_file));
  extract->add_option("-o,--output", settings->output, "Where to")->required()->type_name("FILE");
  extract->add_flag("--ptx", settings->ptx, "The PTX, in any case");
  describe_gc(*add("gc", "Remove the least recently used entries above the bound, and what killed processes left",
                   "librt cache gc --max-size 100M --dry-run", cache_gc),
              *settings);
  add_key(add("rm", "Remove one entry", "librt cache rm 3fa91c02", cache_rm));
  add("clear", "Remove every entry and nothing else", "librt cache clear", clear);
}

}  // namespace librt::tool
