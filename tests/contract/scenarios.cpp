#include "tests/contract/scenarios.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "kernels/work.h"
#include "tests/contract/merger.hpp"
#include "tests/support/logits.hpp"

namespace librt::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

RunKernels runner(std::shared_ptr<const Batch> batch, const RunOptions& options) {
  return [batch = std::move(batch), options](MachineKernels& kernels, const MachineOptions& machine) {
    RunOptions used = options;
    used.machine = machine;
    return run_on_machine(kernels, *batch, used);
  };
}

/// Page-table entries that no request owns, and last_page_len of requests without pages, become `junk`.
Batch with_table_junk(Batch batch, std::int32_t junk) {
  std::fill_n(batch.kv_indices.begin(), batch.kv_indptr.front(), junk);
  std::fill(batch.kv_indices.begin() + batch.kv_indptr.back(), batch.kv_indices.end(), junk);
  for (int request = 0; request < batch.size(); ++request)
    if (batch.pages(request).empty()) batch.kv_last_page_len[static_cast<std::size_t>(request)] = junk;
  return batch;
}

/// Whatever is not valid for this one request becomes NaN, the other requests' positions too.
Batch with_others_poisoned(Batch batch, int request) {
  Batch alone = fill_padding(pick(batch, {request}), Poison::quiet_nan);
  batch.first = std::move(alone.first);
  batch.second = std::move(alone.second);
  return batch;
}

Scenario of_batch(const Batch& batch, const RunOptions& options = {}) {
  const auto base = std::make_shared<const Batch>(batch);
  Scenario scenario{.spec = batch.spec,
                    .run = runner(base, options),
                    .difference = [base, expected = expected_of(batch)](
                                      const Result& result) { return difference(*base, result, expected); },
                    .variants = {}};
  const auto add = [&](std::string what, Batch varied, auto change) {
    scenario.variants.push_back(
        {std::move(what), runner(std::make_shared<const Batch>(std::move(varied)), options), std::move(change)});
  };
  const auto any_change = [base](const Result& before, const Result& after) {
    return bit_difference(*base, before, after);
  };
  for (const Poison poison : kPoisons)
    add(to_string(poison) + " in the padding", fill_padding(batch, poison), any_change);
  for (const std::int32_t junk : {-1, std::numeric_limits<std::int32_t>::max()})
    add(fmt::format("{} in what nobody owns of the page table", junk), with_table_junk(batch, junk), any_change);
  for (int request = 0; request < batch.size() && batch.size() > 1; ++request) {
    add(fmt::format("NaN in all that request {} does not own", request), with_others_poisoned(batch, request),
        [base, request](const Result& before, const Result& after) {
          const auto own = [&](const Result& result) { return rows_of(*base, result, request); };
          return bit_difference(pick(*base, {request}), own(before), own(after));
        });
  }
  return scenario;
}

Batch infinite_query(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  set_logits(batch, 0, [](int) { return -1.0; });
  for (int head = 0; head < batch.shape.qo_heads; ++head)
    batch.query(0, head, logit_dim(batch)) = batch.bits(kInfinity);
  return batch;
}

Batch equal_logits(const Spec& spec, double logit, float sm_scale) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  if (sm_scale != 0) batch.sm_scale = sm_scale;
  set_logits(batch, 0, [logit](int) { return logit; });
  return batch;
}

/// The first 64 positions have no weight: at least one tile, or two splits of 8 pages.
Batch first_logits_infinite(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77}});
  set_logits(batch, 0, [](int position) { return position < 64 ? -kInfinity : 0.0; });
  return batch;
}

/// V has a number there that 0 does not silence.
Batch bad_value_without_weight(const Spec& spec) {
  Batch batch = first_logits_infinite(spec);
  if (!batch.shape.is_mla) {
    batch.value(0, 5, 0, 3) = special_bits(batch.shape.dtype).quiet_nan;
    return batch;
  }
  // The value is key too: -inf there keeps the logit what it is, a NaN would not.
  for (int head = 0; head < batch.shape.qo_heads; ++head) batch.query(0, head, 3) = batch.bits(1);
  batch.value(0, 5, 0, 3) = batch.bits(-kInfinity);
  return batch;
}

/// fp32 cannot hold the sum of two such values.
Batch largest_values(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77, 13}});
  const Bits largest = special_bits(batch.shape.dtype).largest;
  for (int request = 0; request < batch.size(); ++request) {
    set_logits(batch, request, [](int position) { return position % 3; });
    for (int position = 0; position < batch.kv_len(request); ++position)
      for (int head = 0; head < batch.shape.kv_heads; ++head)
        for (int d = 0; d < batch.shape.out_dim(); ++d)
          batch.value(request, position, head, d) = static_cast<Bits>(d % 2 == 0 ? largest : largest | kSign);
  }
  return batch;
}

Batch nan_key(const Spec& spec) {
  Batch batch = make_batch(spec, {.kv_lens = {77, 13}});
  batch.key(0, 75, 0, 3) = special_bits(batch.shape.dtype).quiet_nan;
  return batch;
}

/// The entries before kv_indptr[0] are ids of pages that exist and that no request owns.
Batch offset_table(const Spec& spec) {
  const int entries = 3;
  Batch batch = make_batch(spec, {.kv_lens = {13, 70}, .permuted = false, .unowned_pages = entries});
  for (int i = 0; i < entries; ++i) batch.kv_indices.insert(batch.kv_indices.begin(), batch.first.num_pages - 1 - i);
  for (std::int32_t& offset : batch.kv_indptr) offset += entries;
  return batch;
}

/// A merge of one head; the rows of parts without positions are padding.
TaintedRun run_merge(MachineKernels& kernels, const MachineOptions& options, const std::vector<Part>& parts) {
  Machine machine(options);
  std::vector<float> rows;
  std::vector<PartialStats> stats;
  for (const Part& part : parts) {
    rows.insert(rows.end(), part.out.begin(), part.out.end());
    stats.push_back(part.stats);
  }
  const std::size_t dim = parts.front().out.size();
  float* partial_out = machine.upload(rows, "partial_out");
  for (std::size_t i = 0; i < parts.size(); ++i)
    if (parts[i].stats.max == kNoPositions.max) machine.label(partial_out + i * dim, dim, kPadding);
  Bits* out = machine.unwritten<Bits>(dim, "out");
  float* lse = machine.unwritten<float>(1, "lse");
  const MergeParams params{
      .plan = {.mark = kMark,
               .header = machine.upload(std::vector<PlanHeader>{{kMark, 0, 1}}, "header"),
               .items = nullptr,
               .merge_requests = machine.upload(std::vector<std::int32_t>{0}, "merge_requests"),
               .merge_indptr = machine.upload(std::vector{0, static_cast<std::int32_t>(parts.size())}, "merge_indptr"),
               .partial_out = partial_out,
               .partial_stats = machine.upload(stats, "partial_stats"),
               .batch = 1},
      .out = out,
      .lse = lse,
      .num_heads = 1};
  machine.launch(kernels.merge(), params, {1, 1, 1});
  return {.out = {machine.labels_of(out, dim)},
          .lse = {machine.labels_of(lse, 1)},
          .findings = machine.findings,
          .defects = machine.defects,
          .completed = machine.completed,
          .result = {.out = machine.download(out, dim), .lse = machine.download(lse, 1)}};
}

/// Parts without positions before and after one that weighs; in their rows stands what an earlier launch has left.
Scenario of_empty_parts(const Spec& spec) {
  const auto run_with = [dim = shape_of(spec).out_dim()](float stale) -> RunKernels {
    const Part empty = constant(dim, stale, kNoPositions);
    const std::vector<Part> parts{empty, constant(dim, 0.5F, {1, 1}), empty};
    return
        [parts](MachineKernels& kernels, const MachineOptions& options) { return run_merge(kernels, options, parts); };
  };
  Scenario scenario{.spec = spec,
                    .run = run_with(0),
                    .difference = [dtype = shape_of(spec).dtype](const Result& result) -> std::string {
                      const auto right = [&](Bits bits) { return to_double(bits, dtype) == 0.5; };
                      if (!std::ranges::all_of(result.out, right)) return "0.5 and two empty parts are not 0.5";
                      const double lse = static_cast<double>(result.lse[0]);
                      return std::fabs(lse - 1) < 1e-5 ? "" : fmt::format("LSE is {}, expected 1", lse);
                    },
                    .variants = {}};
  for (const float stale : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38F})
    scenario.variants.push_back({fmt::format("{} in the rows of empty parts", stale), run_with(stale),
                                 [](const Result& before, const Result& after) {
                                   const bool same = before.out == after.out && before.lse == after.lse;
                                   return std::string(same ? "" : "the merged row changes");
                                 }});
  return scenario;
}

/// A finite row that rounding to the type would make infinite.
Scenario of_parts_past_the_end(const Spec& spec) {
  const Part part = constant(shape_of(spec).out_dim(), std::numeric_limits<float>::max(), {1, 1});
  return {.spec = spec,
          .run =
              [part](MachineKernels& kernels, const MachineOptions& options) {
                return run_merge(kernels, options, {part, part});
              },
          .difference = [largest = special_bits(shape_of(spec).dtype).largest](const Result& result) -> std::string {
            const bool right = std::ranges::all_of(result.out, [&](Bits bits) { return bits == largest; });
            return right ? "" : "the merged row is not the largest number";
          },
          .variants = {}};
}

/// A workspace that was staged for other limits, with items and splits that a kernel could run.
Scenario of_no_plan(const Spec& spec) {
  const auto batch = std::make_shared<const Batch>(make_batch(spec, {.kv_lens = {150, 13}}));
  return {.spec = spec,
          .run = runner(batch, {.split_pages = 8, .is_staged = false}),
          .difference = [batch](const Result& result) -> std::string {
            const auto is_nan = [&](Bits bits) { return std::isnan(batch->number(bits)); };
            const auto lse_is_nan = [](float lse) { return std::isnan(lse); };
            if (!std::ranges::all_of(result.out, is_nan)) return "out is not all NaN";
            return std::ranges::all_of(result.lse, lse_is_nan) ? "" : "the LSE is not all NaN";
          },
          .variants = {}};
}

}  // namespace

std::map<std::string, Scenario> scenarios(const Spec& spec) {
  const RunOptions split{.split_pages = 8};
  std::map<std::string, Scenario> all;
  all["tails"] = of_batch(make_batch(spec, {.kv_lens = {13, 70}}));
  all["many tiles"] = of_batch(make_batch(spec, {.kv_lens = {300, 77}}));
  all["splits"] = of_batch(make_batch(spec, {.kv_lens = {150, 77}}), split);
  // Blocks that take two items each; the next one is empty, or short.
  all["two items a block"] = of_batch(make_batch(spec, {.kv_lens = {13, 70, 0, 5}}));
  all["no plan"] = of_no_plan(spec);
  all["empty request"] = of_batch(make_batch(spec, {.kv_lens = {13, 0}}));
  all["full pages"] = of_batch(make_batch(spec, {.kv_lens = {16, 24}}));
  // The second page is full for request 0 and a tail for request 1.
  all["shared tail"] = of_batch(make_batch(spec, {.kv_lens = {8, 6}, .shared_pages = 2}));
  // Nothing behind the only request's entries: reading on is out of bounds.
  all["tight table"] = of_batch(make_batch(spec, {.kv_lens = {13}}));
  all["junk in the table"] =
      of_batch(make_batch(spec, {.kv_lens = {13, 70}, .entries_before = 3, .entries_after = 16}));
  all["offset table"] = of_batch(offset_table(spec));
  // No page lies within the first 2^31 elements, nor within the first 2^32 bytes.
  all["high page ids"] = of_batch(make_batch(spec, {.kv_lens = {13, 70}}), {.first_page_id = 1 << 24});
  all["shorter than planned"] =
      of_batch(make_batch(spec, {.kv_lens = {13, 70}}), {.split_pages = 3, .planned_pages = {19, 23}});
  all["infinite query"] = of_batch(infinite_query(spec));
  all["low logits"] = of_batch(equal_logits(spec, -66855, 0));
  all["huge logits"] = of_batch(equal_logits(spec, -3e38, 1), split);
  all["logits of -inf"] = of_batch(first_logits_infinite(spec));
  all["bad value without weight"] = of_batch(bad_value_without_weight(spec), split);
  all["largest values"] = of_batch(largest_values(spec));
  all["NaN in a key"] = of_batch(nan_key(spec));
  all["empty parts"] = of_empty_parts(spec);
  all["parts past the end"] = of_parts_past_the_end(spec);
  return all;
}

}  // namespace librt::test
