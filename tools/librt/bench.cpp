// librt bench: measured, never remembered.
#include "tools/librt/bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "tools/librt/table.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {
namespace {

std::string shown(double value) {
  return value >= 1e6 ? fmt::format("{:.3g}", value) : fmt::format("{:.3f}", value);
}

int bench(bool json) {
  std::vector<Metric> metrics;
  {
    ProgressBar bar("", kCacheSteps + kVirtualSteps + kGpuSteps);
    metrics = measure_cache(bar);
    std::ranges::move(measure_virtual_machine(bar), std::back_inserter(metrics));
    std::ranges::move(measure_gpu(bar), std::back_inserter(metrics));
  }

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
    Rows rows;
    for (const Metric& metric : metrics) {
      rows.push_back({metric.name,
                      shown(metric.value),
                      metric.unit,
                      metric.has_target ? (metric.greater_is_better ? ">= " : "<= ") + shown(metric.target) : "",
                      {metric.met() ? "" : "missed", Style::bad}});
    }
    print(table({{.heading = "NAME", .fit = Fit::shorten},
                 {.heading = "VALUE", .right = true},
                 {"UNIT"},
                 {.heading = "TARGET", .right = true, .leaves = 1},
                 {}},
                rows));
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
