#include "tests/unit/ptx/ptx_harness.hpp"

#include <fmt/format.h>

#include <iterator>
#include <optional>

namespace librt::ptx::test {
namespace {

constexpr std::string_view kRegisters =
    ".reg .pred %p<8>;\n.reg .b16 %h<16>;\n.reg .b32 %r<64>, %f<32>;\n.reg .b64 %d<32>;\n"
    ".reg .b32 %tx, %cta, %threads, %index, %lane;\n"
    "mov.u32 %tx, %tid.x;\nmov.u32 %cta, %ctaid.x;\nmov.u32 %threads, %ntid.x;\n"
    "mad.lo.s32 %index, %cta, %threads, %tx;\nmov.u32 %lane, %laneid;\n";

std::string header(std::string_view module_scope, unsigned parameters) {
  std::string text =
      fmt::format(".version 9.0\n.target sm_90a\n.address_size 64\n{}\n.visible .entry test(", module_scope);
  for (unsigned i = 0; i < parameters; ++i)
    fmt::format_to(std::back_inserter(text), "{}.param .u64 arg{}", i ? ", " : "", i);
  text += ")\n{\n";
  text += kRegisters;
  return text;
}

void load_pointers(std::string& text, unsigned pointers) {
  for (unsigned i = 0; i < pointers; ++i) {
    fmt::format_to(std::back_inserter(text),
                   ".reg .b64 %ptr{0};\nld.param.u64 %ptr{0}, [arg{0}];\ncvta.to.global.u64 %ptr{0}, %ptr{0};\n", i);
  }
}

std::string_view register_type(char letter) {
  switch (letter) {
    case 'h':
      return "b16";
    case 'r':
      return "b32";
    case 'd':
      return "b64";
    case 'p':
      return "pred";
    default:
      FAIL("unknown operand letter " << letter);
      return "";
  }
}

void load_operand(std::string& text, std::size_t i, char kind, std::size_t rows) {
  auto out = std::back_inserter(text);
  fmt::format_to(out, ".reg .{} %i{};\n", register_type(kind), i);
  const std::size_t offset = i * rows * sizeof(Word);
  if (kind == 'p') {
    fmt::format_to(out, "ld.global.u32 %r0, [%row_in+{}];\nsetp.ne.u32 %i{}, %r0, 0;\n", offset, i);
  } else {
    fmt::format_to(out, "ld.global.{} %i{}, [%row_in+{}];\n", register_type(kind), i, offset);
  }
}

void store_operand(std::string& text, std::size_t i, char kind, std::size_t rows) {
  auto out = std::back_inserter(text);
  const std::size_t offset = i * rows * sizeof(Word);
  if (kind == 'p') {
    fmt::format_to(out, "selp.u32 %r0, 1, 0, %o{};\nst.global.u32 [%row_out+{}], %r0;\n", i, offset);
  } else {
    fmt::format_to(out, "st.global.{} [%row_out+{}], %o{};\n", register_type(kind), offset, i);
  }
}

std::string lane_kernel(const Form& form, std::size_t rows, std::string_view module_scope) {
  std::string text = header(module_scope, 2);
  load_pointers(text, 2);
  text +=
      ".reg .b64 %row_in, %row_out;\nmul.wide.u32 %d0, %index, 8;\nadd.s64 %row_in, %ptr0, %d0;\n"
      "add.s64 %row_out, %ptr1, %d0;\n";
  for (std::size_t i = 0; i < form.inputs.size(); ++i) load_operand(text, i, form.inputs[i], rows);
  for (std::size_t i = 0; i < form.outputs.size(); ++i) {
    fmt::format_to(std::back_inserter(text), ".reg .{} %o{};\n", register_type(form.outputs[i]), i);
  }
  text += form.code + "\n";
  for (std::size_t i = 0; i < form.outputs.size(); ++i) store_operand(text, i, form.outputs[i], rows);
  text += "ret;\n}\n";
  return text;
}

std::string hex(const Words& words) {
  std::string text;
  for (const Word word : words) fmt::format_to(std::back_inserter(text), " 0x{:x}", word);
  return text;
}

}  // namespace

std::string kernel_text(std::string_view body, unsigned pointers, std::string_view module_scope) {
  std::string text = header(module_scope, pointers);
  load_pointers(text, pointers);
  text += body;
  text += "\nret;\n}\n";
  return text;
}

std::vector<Words> run_lanes(const Form& form, const std::vector<Words>& rows, const LaneOptions& options) {
  REQUIRE(!rows.empty());
  const std::size_t ctas = (rows.size() + options.block - 1) / options.block;
  const std::size_t padded = ctas * options.block;
  Words input(form.inputs.size() * padded);
  for (std::size_t row = 0; row < padded; ++row) {
    const Words& source = rows[row < rows.size() ? row : rows.size() - 1];
    REQUIRE(source.size() == form.inputs.size());
    for (std::size_t i = 0; i < source.size(); ++i) input[i * padded + row] = source[i];
  }

  Bench bench(lane_kernel(form, padded, options.module_scope));
  const std::uint64_t in = bench.upload(input, "inputs");
  const std::uint64_t out = bench.zeros<Word>(form.outputs.size() * padded, "outputs");
  LaunchOptions launch_options;
  launch_options.grid = {static_cast<std::uint32_t>(ctas), 1, 1};
  launch_options.block = {options.block, 1, 1};
  launch_options.dynamic_shared_bytes = options.shared_bytes;
  launch_options.threads = options.threads;
  launch_options.copy_timing = options.copy_timing;
  bench.launch({in, out}, launch_options);

  const Words output = bench.download<Word>(out, form.outputs.size() * padded);
  std::vector<Words> results(rows.size());
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::size_t i = 0; i < form.outputs.size(); ++i) results[row].push_back(output[i * padded + row]);
  }
  return results;
}

void check_form(const Form& form, const std::vector<Example>& examples, const LaneOptions& options) {
  std::vector<Words> rows;
  for (const Example& example : examples) rows.push_back(example.in);
  std::vector<Words> results;
  try {
    results = run_lanes(form, rows, options);
  } catch (const MachineError& error) {
    FAIL_CHECK(form.code << "\n  failed: " << error.what());
    return;
  }
  // One report per form: a wrong handler fails every row, and the first rows say enough.
  constexpr std::size_t kReported = 4;
  std::string wrong;
  std::size_t count = 0;
  for (std::size_t row = 0; row < examples.size(); ++row) {
    if (results[row] == examples[row].out) continue;
    if (++count <= kReported) {
      fmt::format_to(std::back_inserter(wrong), "\n  row {}: inputs{} gave{}, expected{}", row, hex(examples[row].in),
                     hex(results[row]), hex(examples[row].out));
    }
  }
  INFO(form.code << ": " << count << " of " << examples.size() << " rows are wrong" << wrong);
  CHECK(count == 0);
}

void check_form_or_refusal(const Form& form, const std::vector<Example>& examples, const LaneOptions& options) {
  try {
    Module::parse(lane_kernel(form, options.block, options.module_scope));
  } catch (const MachineError& error) {
    INFO(form.code << "\n" << error.what());
    CHECK(to_string(error.fault()) == to_string(Fault::unsupported));
    // The name between quotes is one of the form's own instructions.
    const std::string message = error.what();
    const std::size_t start = message.find("form '"), end = message.find('\'', start + 6);
    REQUIRE(end != std::string::npos);
    CHECK(form.code.find(message.substr(start + 6, end - start - 6) + " ") != std::string::npos);
    return;
  }
  check_form(form, examples, options);
}

void check_refused(std::string_view body, std::string_view needle, Fault fault) {
  INFO(body);
  const std::string message = message_of(fault, [&] { Module::parse(kernel_text(body, 2)); });
  INFO(message);
  CHECK(message.find(needle) != std::string::npos);
}

}  // namespace librt::ptx::test
