// No byte of padding reaches an output, an address or a branch, whatever bits it holds; and the instrument that says so
// sees a kernel that lets one through.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <string>

#include "tests/contract/specs.hpp"
#include "tests/contract/tainted_run.hpp"

namespace librt::test {
namespace {

TEST_CASE("No padding byte reaches out, the LSE, an address or a branch", "[taint]") {
  for (const Spec& spec : both(4)) {
    for (const Layout layout : {Layout::nhd, Layout::padded}) {
      const Batch batch = make_batch(
          spec,
          {.kv_lens = {13, 70, 0, 1}, .layout = layout, .unowned_pages = 2, .entries_before = 3, .entries_after = 5});
      INFO(to_string(spec) << ", layout " << static_cast<int>(layout));
      const TaintedRun run = run_tainted(shared_runtime(), batch);
      CHECK(taint_complaint(run) == "");
      CHECK(difference(batch, run.result, expected_of(batch)) == "");
    }
  }
}

TEST_CASE("No padding byte reaches the result of splits", "[taint]") {
  for (const Spec& spec : both(16)) {
    const Batch batch = make_batch(spec, {.kv_lens = {77, 150, 16}});
    INFO(to_string(spec));
    const TaintedRun run = run_tainted(shared_runtime(), batch, 3);
    CHECK(taint_complaint(run) == "");
    CHECK(difference(batch, run.result, expected_of(batch)) == "");
  }
}

TEST_CASE("Requests that share pages depend on their own positions only", "[taint]") {
  for (const Spec& spec : both(4)) {
    // The shared page is full for one request and a tail for the other.
    const Batch batch = make_batch(spec, {.kv_lens = {8, 6}, .shared_pages = 2});
    INFO(to_string(spec));
    CHECK(taint_complaint(run_tainted(shared_runtime(), batch)) == "");
  }
}

TEST_CASE("Labels are there to be seen: what is valid for one request only reaches its output", "[taint]") {
  for (const Spec& spec : both(4)) {
    const TaintedRun run = run_tainted(shared_runtime(), make_batch(spec, {.kv_lens = {9, 5}}));
    INFO(to_string(spec));
    // Request 0 reads what is padding for request 1, and the other way round.
    CHECK(run.out[0] == padding_of(1));
    CHECK(run.out[1] == padding_of(0));
    CHECK(run.lse[0] == padding_of(1));
    CHECK(run.lse[1] == padding_of(0));
  }
}

std::string complaint_of_edit(const Spec& spec, const SourceEdit& edit) {
  Options options = virtual_options();
  options.cache_mode = CacheMode::off;
  options.source_edits = {edit};
  Runtime runtime(options);
  const Batch batch = make_batch(spec, {.kv_lens = {13, 70}});  // all of its padding holds zeros
  const TaintedRun run = run_tainted(runtime, batch);
  INFO(edit.replace);
  CHECK(difference(batch, run.result, expected_of(batch)) == "");
  return taint_complaint(run);
}

TEST_CASE("V of padding that is not zeroed is caught, even where it holds zeros", "[taint]") {
  const SourceEdit gqa_edit{"gqa_decode/gqa_decode.cuh",
                            "copy16_or_zero(v_tile(stage) + to, v_from, extent.copy_bytes(position));",
                            "copy16(v_tile(stage) + to, v_from);"};
  const SourceEdit mla_edit{"mla_decode/mla_decode.cuh",
                            "copy16_or_zero(to + row * Traits::kPitch + offset, from, extent.copy_bytes(position));",
                            "copy16(to + row * Traits::kPitch + offset, from);"};
  CHECK(complaint_of_edit(gqa(4), gqa_edit).find("padding reaches out of request 0") == 0);
  CHECK(complaint_of_edit(mla(4), mla_edit).find("padding reaches out of request 0") == 0);
}

}  // namespace
}  // namespace librt::test
