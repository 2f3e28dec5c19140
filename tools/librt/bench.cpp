// librt bench: measured, never remembered.
#include "tools/librt/bench.hpp"

#include <fmt/format.h>

#include <memory>

#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

std::string shown(double value) {
  return value >= 1e6 ? fmt::format("{:.3g}", value) : fmt::format("{:.3f}", value);
}

int bench(bool json) {
  std::vector<Metric> metrics;
  progress("measuring compiles and cache hits ...");
  metrics = measure_cache();
  progress("measuring the virtual device ...");
  for (Metric& metric : measure_virtual_machine()) metrics.push_back(std::move(metric));
  progress("looking for a GPU ...");
  for (Metric& metric : measure_gpu()) metrics.push_back(std::move(metric));

  bool met = true;
  for (const Metric& metric : metrics) met = met && metric.met();
  if (json) {
    Json list = Json::array();
    for (const Metric& metric : metrics) {
      Json entry{{"name", metric.name}, {"value", metric.value}, {"unit", metric.unit}, {"target", nullptr}};
      if (metric.has_target) entry["target"] = metric.target;
      list.push_back(entry);
    }
    print_json(Json{{"metrics", list}, {"version", version()}, {"all_targets_met", met}});
  } else {
    std::vector<std::vector<std::string>> rows{{"NAME", "VALUE", "UNIT", "TARGET", ""}};
    for (const Metric& metric : metrics) {
      rows.push_back({metric.name, shown(metric.value), metric.unit,
                      metric.has_target ? (metric.greater_is_better ? ">= " : "<= ") + shown(metric.target) : "",
                      metric.met() ? "" : "missed"});
    }
    print(table(rows, {1}));
  }
  return kDone;
}

}  // namespace

void add_bench(CLI::App& tool, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* const verb =
      add_verb(tool, "bench", "Measure compiles, cache hits, the virtual device and, where there is one, the GPU",
               "librt bench --json", *json);
  verb->callback([json, &exit_code] { exit_code = bench(*json); });
}

}  // namespace librt::tool
