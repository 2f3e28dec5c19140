// The kernels have no races, read nothing that was not written and use no copy before it is there, however copies
// arrive; and an edit that takes a barrier or a wait away is reported, also where the result stays right.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <string>

#include "tests/contract/specs.hpp"
#include "tests/contract/tainted_run.hpp"

namespace librt::test {
namespace {

constexpr ptx::CopyTiming kTimings[] = {ptx::CopyTiming::late, ptx::CopyTiming::early, ptx::CopyTiming::random};

TEST_CASE("The kernels have no defect, however their copies arrive", "[sanitizer]") {
  for (const ptx::CopyTiming timing : kTimings) {
    for (const Spec& spec : both(4)) {
      const Batch batch = make_batch(spec, {.kv_lens = {13, 150, 0, 1}, .unowned_pages = 2});
      INFO(to_string(spec) << ", timing " << static_cast<int>(timing));
      for (const int split_pages : {0, 9}) {
        const TaintedRun run = run_tainted(shared_runtime(), batch, split_pages, timing);
        for (const ptx::SanitizerFinding& defect : run.defects) CHECK(to_string(defect) == "");
        CHECK(taint_complaint(run) == "");
        CHECK(difference(batch, run.result, reference(batch)) == "");
      }
    }
  }
}

TEST_CASE("Long heads and f16 have no defect", "[sanitizer]") {
  for (const Spec& spec : {gqa(16, DType::f16, 128), gqa(16, DType::bf16, 256), mla(16, DType::f16)}) {
    const Batch batch = make_batch(spec, {.kv_lens = {300}});
    INFO(to_string(spec));
    const TaintedRun run = run_tainted(shared_runtime(), batch, 7);
    for (const ptx::SanitizerFinding& defect : run.defects) CHECK(to_string(defect) == "");
  }
}

struct Edited {
  Spec spec;
  SourceEdit edit;
};

void check_reported(const Edited& edited) {
  Options options = virtual_options();
  options.cache_mode = CacheMode::off;
  options.source_edits = {edited.edit};
  Runtime runtime(options);
  const Batch batch = make_batch(edited.spec, {.kv_lens = {300, 77}});
  const TaintedRun run = run_tainted(runtime, batch, 7);
  INFO(edited.edit.find << " -> " << edited.edit.replace);
  const bool reported = std::ranges::any_of(run.defects, [](const ptx::SanitizerFinding& defect) {
    return defect.defect == ptx::Defect::race || defect.defect == ptx::Defect::copy_in_flight;
  });
  CHECK(reported);
}

TEST_CASE("A barrier or a wait that is missing is reported", "[sanitizer]") {
  const Spec gqa_spec = gqa(4), mla_spec = mla(4);
  for (const Edited& edited : {
           Edited{gqa_spec,
                  {"gqa_decode.cuh",
                   "__syncthreads();  // this tile is complete, and the one before it is no longer in use", ""}},
           Edited{gqa_spec, {"gqa_decode.cuh", "__syncthreads();  // the merge writes where the tiles were", ""}},
           Edited{gqa_spec, {"gqa_decode.cuh", "wait_copies<Traits::kStages - 2>();", ""}},
           Edited{mla_spec,
                  {"mla_decode.cuh",
                   "__syncthreads();  // this tile is complete, and the one before it is no longer in use", ""}},
           Edited{mla_spec, {"mla_decode.cuh", "__syncthreads();  // all scores of the tile are there", ""}},
           Edited{mla_spec, {"mla_decode.cuh", "__syncthreads();  // all weights and row factors are there", ""}},
           Edited{mla_spec, {"mla_decode.cuh", "__syncthreads();  // the row factors are no longer in use", ""}},
           Edited{mla_spec, {"mla_decode.cuh", "__syncwarp();", ""}},
       })
    check_reported(edited);
}

}  // namespace
}  // namespace librt::test
