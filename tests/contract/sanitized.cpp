// The kernels have no races, read nothing that was not written and use no copy before it is there, however copies
// arrive. That a barrier or a wait that is missing is reported, also where the result stays right, is for mutants.cpp.
#include <librt/librt.hpp>

#include <catch2/catch.hpp>

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
        CHECK(difference(batch, run.result, expected_of(batch)) == "");
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

}  // namespace
}  // namespace librt::test
