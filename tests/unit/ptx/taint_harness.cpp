#include "tests/unit/ptx/taint_harness.hpp"

#include <fmt/format.h>

#include <iterator>

namespace librt::ptx::test {
namespace {

constexpr std::size_t kLanesInTest = 32;

const char* type_of(char letter) {
  switch (letter) {
    case 'h':
      return "b16";
    case 'r':
      return "b32";
    case 'd':
      return "b64";
    default:
      return "pred";
  }
}

std::size_t bytes_of(char letter) {
  return letter == 'h' ? 2 : letter == 'd' ? 8 : 4;
}

std::string body_of(const Form& form) {
  std::string text =
      ".reg .b64 %row_in, %row_out;\nmul.wide.u32 %d0, %tx, 8;\nadd.s64 %row_in, %ptr0, %d0;\n"
      "add.s64 %row_out, %ptr1, %d0;\n";
  auto out = std::back_inserter(text);
  for (std::size_t i = 0; i < form.inputs.size(); ++i) {
    const char kind = form.inputs[i];
    fmt::format_to(out, ".reg .{} %i{};\n", type_of(kind), i);
    if (kind == 'p')
      fmt::format_to(out, "ld.global.u32 %r0, [%row_in+{}];\nsetp.ne.u32 %i{}, %r0, 0;\n", 256 * i, i);
    else
      fmt::format_to(out, "ld.global.{} %i{}, [%row_in+{}];\n", type_of(kind), i, 256 * i);
  }
  for (std::size_t i = 0; i < form.outputs.size(); ++i)
    fmt::format_to(out, ".reg .{} %o{};\n", type_of(form.outputs[i]), i);
  fmt::format_to(out, "{}\n", form.code);
  for (std::size_t i = 0; i < form.outputs.size(); ++i) {
    if (form.outputs[i] == 'p')
      fmt::format_to(out, "selp.u32 %r0, 1, 0, %o{};\nst.global.u32 [%row_out+{}], %r0;\n", i, 256 * i);
    else
      fmt::format_to(out, "st.global.{} [%row_out+{}], %o{};\n", type_of(form.outputs[i]), 256 * i, i);
  }
  return text;
}

}  // namespace

Tracked track(const Form& form, const std::vector<Tainted>& operands, std::uint32_t shared_bytes) {
  REQUIRE(operands.size() == form.inputs.size());
  Bench bench(kernel_text(body_of(form), 2));
  Words values;
  const auto lane_of = [](const Words& words, std::size_t lane) { return words.at(words.size() == 1 ? 0 : lane); };
  for (const Tainted& operand : operands)
    for (std::size_t lane = 0; lane < kLanesInTest; ++lane) values.push_back(lane_of(operand.values, lane));
  values.resize(values.size() + 1);  // never empty
  const std::uint64_t in = bench.upload(values, "in");
  const std::uint64_t out = bench.zeros<Word>(kLanesInTest * form.outputs.size() + 1, "out");
  TaintMap map(bench.memory);
  for (std::size_t i = 0; i < operands.size(); ++i)
    for (std::size_t lane = 0; lane < kLanesInTest; ++lane)
      for (unsigned byte = 0; byte < 8; ++byte)
        map.label(in + 256 * i + 8 * lane + byte, 1,
                  static_cast<Labels>(lane_of(operands[i].labels, lane) >> (8 * byte)));
  const std::vector<std::uint64_t> arguments = {in, out};
  LaunchOptions options = one_cta();
  options.dynamic_shared_bytes = shared_bytes;
  Tracked tracked;
  tracked.findings =
      launch_tainted(bench.module, bench.memory, map, "test", std::as_bytes(std::span(arguments)), options).findings;
  for (std::size_t i = 0; i < form.outputs.size(); ++i) {
    Words& lanes = tracked.labels.emplace_back();
    for (std::size_t lane = 0; lane < kLanesInTest; ++lane) {
      const std::vector<Labels> bytes = map.read(out + 256 * i + 8 * lane, bytes_of(form.outputs[i]));
      Word word = 0;
      for (std::size_t byte = 0; byte < bytes.size(); ++byte)
        word |= Word{bytes[byte]} << (form.outputs[i] == 'p' ? 0 : 8 * byte);
      lanes.push_back(word);
    }
  }
  return tracked;
}

Word labels_after(const Form& form, const std::vector<Tainted>& operands) {
  const Tracked tracked = track(form, operands);
  CHECK(tracked.findings.empty());
  for (const Word lane : tracked.labels.at(0)) CHECK(lane == tracked.labels[0][0]);
  return tracked.labels[0][0];
}

std::vector<std::string> kinds(const Tracked& tracked) {
  std::vector<std::string> result;
  for (const TaintFinding& finding : tracked.findings) result.emplace_back(to_string(finding.dependence));
  return result;
}

}  // namespace librt::ptx::test
