// librt cache prewarm: compiles for machines that are not here what a manifest asks for.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "src/util/text.hpp"
#include "tools/librt/builtin_manifests.hpp"
#include "tools/librt/cache_verbs.hpp"
#include "tools/librt/progress_bar.hpp"
#include "tools/librt/table.hpp"
#include "tools/librt/typed.hpp"

namespace librt::tool {
namespace {

int list_manifests(bool json) {
  Json list = Json::array();
  Rows rows;
  const auto add = [&](std::string_view name, std::string_view path, const Manifest& manifest) {
    list.push_back({{"name", name},
                    {"path", path},
                    {"specs", manifest.specs.size()},
                    {"source", manifest.source},
                    {"note", manifest.note}});
    rows.push_back({std::string(name), std::to_string(manifest.specs.size()), manifest.source});
  };
  add(kMatrix, "kernels/*/matrix.json", kernel_matrix());
  for (const BuiltInManifest& each : built_in_manifests()) {
    add(each.name, each.path, parse_manifest(each.text, each.path));
  }
  const std::vector<Column> columns{
      {"NAME"}, {.heading = "SPECS", .right = true}, {.heading = "SOURCE", .fit = Fit::wrap}};
  json ? print_json(list) : print(table(columns, rows));
  return kDone;
}

Options prewarm_options(const CacheSettings& settings) {
  Options options = options_of(settings);
  if (options.cache_mode != CacheMode::rw) {
    throw UsageError("LIBRT_CACHE_MODE lets nothing be written to the cache; allowed for prewarm: rw");
  }
  options.cache_read_only.clear();  // the directory has to be complete by itself, wherever it goes
  return options;
}

std::string what(const PrewarmProgram& program) {
  return fmt::format("{} for {}{}", to_string(program.arch), program.kernel == program.spec.kernel() ? "" : "merge of ",
                     to_string(program.spec));
}

Json to_json(const PrewarmFailure& failure) {
  return Json{{"spec", to_string(failure.program.spec)},
              {"kernel", failure.program.kernel},
              {"arch", to_string(failure.program.arch)},
              {"code", to_string(failure.code)},
              {"error", failure.error},
              {"detail", failure.detail}};
}

Json to_json(const PrewarmReport& report, const CacheLocation& location) {
  Json archs = Json::array(), failed = Json::array();
  for (const Arch& arch : report.archs) archs.push_back(to_string(arch));
  for (const PrewarmFailure& failure : report.failed) failed.push_back(to_json(failure));
  return Json{{"path", location.path},       {"archs", archs},        {"requested", report.requested},
              {"compiled", report.compiled}, {"failed", failed},      {"already_there", report.already_there},
              {"evicted", report.evicted},   {"bytes", report.bytes}, {"seconds", report.seconds}};
}

/// Programs of one architecture that failed for the same reason.
struct Failed {
  const PrewarmFailure* first;
  std::size_t more = 0;
};

std::vector<Failed> alike(const std::vector<PrewarmFailure>& failures) {
  std::vector<Failed> list;
  for (const PrewarmFailure& failure : failures) {
    const auto known = std::ranges::find_if(list, [&](const Failed& each) {
      return each.first->program.arch == failure.program.arch && each.first->error == failure.error;
    });
    known == list.end() ? list.push_back({&failure}) : static_cast<void>(++known->more);
  }
  return list;
}

void print_words(const PrewarmReport& report, const CacheLocation& location) {
  print(table({{}, {.right = true}, {}},
              {{"compiled", std::to_string(report.compiled), fmt::format("in {:.1f} s", report.seconds)},
               {"already there", std::to_string(report.already_there)},
               {{"failed", report.failed.empty() ? Style::plain : Style::bad}, std::to_string(report.failed.size())}}));
  for (const Failed& each : alike(report.failed)) {
    const std::string more = each.more == 0 ? "" : fmt::format(" and {} more", each.more);
    const std::string text = fmt::format("  {}{}: {}", what(each.first->program), more, each.first->error);
    print(labelled(Style::bad, "FAILED", util::printable(text)));
  }
  std::vector<std::string> archs;
  for (const Arch& arch : report.archs) archs.push_back(to_string(arch));
  say(fmt::format("{} of {} for {}, about {}, in {}", report.compiled + report.already_there - report.evicted,
                  entries_in_words(report.requested), fmt::join(archs, ", "), with_unit(report.bytes), location.path));
}

/// Where all that failed asks for what this NVRTC cannot do, nothing but another one helps.
int exit_code_of(const PrewarmReport& report) {
  if (report.complete()) return kDone;
  const bool cannot = std::ranges::all_of(
      report.failed, [](const PrewarmFailure& failure) { return failure.code == ErrorCode::unsupported; });
  return cannot && report.evicted == 0 ? kMachineCannot : kProblemFound;
}

/// What GPUs of a kind ask for is not always what the kind is called.
void say_what_was_added(const PrewarmReport& report, const std::vector<Arch>& wanted) {
  for (const Arch& arch : report.archs) {
    if (std::ranges::find(wanted, arch) != wanted.end()) continue;
    say(fmt::format("{} is made too: it is what such a GPU asks for", to_string(arch)));
  }
}

}  // namespace

int cache_prewarm(const CacheSettings& settings) {
  if (settings.list) return list_manifests(settings.json);
  const std::string name = settings.manifest.empty() ? std::string(kMatrix) : settings.manifest;
  const Manifest manifest = find_manifest(name);
  const std::vector<Arch> archs = wanted_archs(settings.archs, manifest, name);
  const CacheLocation location = require_location(settings);
  const Options options = prewarm_options(settings);
  Runtime runtime(options);
  PrewarmReport report;
  try {
    std::optional<ProgressBar> bar;  // the library counts what is to be done
    report = runtime.prewarm(manifest.specs, archs,
                             {.threads = settings.jobs, .progress = [&](auto done, auto all, const auto& program) {
                                if (!bar) bar.emplace("", all);
                                bar->show(done, what(program));
                              }});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) throw UsageError(error.what());
    throw;
  }
  say_what_was_added(report, archs);
  settings.json ? print_json(to_json(report, location)) : print_words(report, location);
  if (report.evicted != 0) {
    say(
        fmt::format("{} removed again, to keep the cache below {}: all need about {}; set "
                    "LIBRT_CACHE_MAX_SIZE to more, or to 0",
                    entries_in_words(report.evicted), with_unit(options.cache_max_bytes), with_unit(report.bytes)));
  }
  return exit_code_of(report);
}

}  // namespace librt::tool
