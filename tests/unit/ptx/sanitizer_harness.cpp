#include "tests/unit/ptx/sanitizer_harness.hpp"

#include <algorithm>

namespace librt::ptx::test {

SanitizerReport checked(const std::string& body, std::uint32_t ctas, CopyTiming timing) {
  const std::string set_up =
      ".shared .align 16 .b8 box[4096]; mov.u32 %r1, box; mad.lo.u32 %r2, %tx, 4, %r1; xor.b32 %r3, %tx, 32; "
      "mad.lo.u32 %r3, %r3, 4, %r1; xor.b32 %r4, %tx, 1; mad.lo.u32 %r4, %r4, 4, %r1;\n";
  Bench bench(kernel_text(set_up + body, 2));
  SanitizerMap map(bench.memory);
  const std::vector<std::uint64_t> arguments{bench.zeros<std::uint32_t>(1024, "zeros"),
                                             bench.memory.allocate(4096, "fresh")};
  LaunchOptions options = one_cta(64);
  options.grid = {ctas, 1, 1};
  options.copy_timing = timing;
  return launch_checked(bench.module, bench.memory, map, "test", std::as_bytes(std::span(arguments)), options);
}

void check_twins(const Twins& twins) {
  for (const CopyTiming timing : {CopyTiming::late, CopyTiming::early, CopyTiming::random}) {
    INFO(twins.broken);
    const SanitizerReport broken = checked(twins.broken, twins.ctas, timing);
    const auto found = std::ranges::find(broken.findings, twins.defect, &SanitizerFinding::defect);
    for (const SanitizerFinding& finding : broken.findings) UNSCOPED_INFO(to_string(finding));
    REQUIRE(found != broken.findings.end());
    const std::string text = to_string(*found);
    CHECK_THAT(text, Catch::StartsWith(std::string(to_string(twins.defect)) + ": kernel 'test', "));
    for (const std::string& said : twins.said) CHECK_THAT(text, Catch::Contains(said));

    const SanitizerReport correct = checked(twins.correct, twins.ctas, timing);
    INFO(twins.correct);
    CHECK(correct.completed);
    for (const SanitizerFinding& finding : correct.findings) CHECK(to_string(finding) == "");
  }
}

}  // namespace librt::ptx::test
