// What the tests of the PTX machine share: a table row is an instruction (or a few) with operands per lane and the
// results that the PTX ISA demands; the harness wraps it in a kernel, runs it, and compares bit for bit.
#pragma once

#include <catch2/catch.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "src/ptx/machine.hpp"

namespace librt::ptx::test {

/// Bits of one register operand, in the low end.
using Word = std::uint64_t;
using Words = std::vector<Word>;

/// Zero-extended bits of an integer or floating-point value.
template <class T>
constexpr Word bits(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<std::uint32_t>(value);
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<std::uint64_t>(value);
  } else if constexpr (std::is_same_v<T, bool>) {
    return value ? 1 : 0;
  } else {
    return static_cast<Word>(static_cast<std::make_unsigned_t<T>>(value));
  }
}
inline float as_float(Word word) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(word));
}
inline double as_double(Word word) {
  return std::bit_cast<double>(word);
}

constexpr Word kNanF32 = 0x7fffffff;          // what f32 arithmetic returns for NaN
constexpr Word kNanF64 = 0x7ff8000000000000;  // quiet; f64 payloads are otherwise not compared
constexpr Word kNanHalf = 0x7fff;             // of f16 and of bf16
constexpr Word kInfF32 = 0x7f800000;

/// Operands of one lane and what the outputs must hold.
struct Example {
  Words in;
  Words out;
};

/// `code` reads %i0, %i1, ... and writes %o0, ...; `inputs` and `outputs` give one letter per operand:
/// h 16 bits, r 32 bits, d 64 bits, p predicate. It may use %lane, %p0..7, %h0..7, %r0..31, %d0..15, %f0..15 freely.
struct Form {
  std::string code;
  std::string inputs;
  std::string outputs;
};

struct LaneOptions {
  std::string module_scope = {};  // text before the entry
  std::uint32_t block = 32;       // lanes per CTA; rows are padded by repeating the last one
  std::uint32_t shared_bytes = 0;
  unsigned threads = 1;
  CopyTiming copy_timing = CopyTiming::late;
};

/// Runs the form once per row (one lane each) and returns the outputs of every row.
std::vector<Words> run_lanes(const Form& form, const std::vector<Words>& rows, const LaneOptions& options = {});

/// run_lanes, and every output must equal what its example says.
void check_form(const Form& form, const std::vector<Example>& examples, const LaneOptions& options = {});

/// For forms beyond what the machine is asked to know: it may refuse one, as unsupported and by its name, or execute it
/// as its examples say; what it must never do is take it for another form.
void check_form_or_refusal(const Form& form, const std::vector<Example>& examples, const LaneOptions& options = {});

/// check_form with rows made from all pairs (triples) of `values`, and results from `expected`.
template <class T, class R>
void check_unary(const std::string& opcode, const std::vector<T>& values, R (*expected)(T));
template <class T, class R>
void check_binary(const std::string& opcode, const std::vector<T>& values, R (*expected)(T, T));

/// Letter of Form for a C++ type.
template <class T>
constexpr char letter() {
  if constexpr (std::is_same_v<T, bool>) return 'p';
  return sizeof(T) == 8 ? 'd' : sizeof(T) == 4 ? 'r' : 'h';
}

template <class T, class R>
void check_unary(const std::string& opcode, const std::vector<T>& values, R (*expected)(T)) {
  std::vector<Example> examples;
  for (const T a : values) examples.push_back({{bits(a)}, {bits(expected(a))}});
  check_form({opcode + " %o0, %i0;", {letter<T>()}, {letter<R>()}}, examples);
}

template <class T, class R>
void check_binary(const std::string& opcode, const std::vector<T>& values, R (*expected)(T, T)) {
  std::vector<Example> examples;
  for (const T a : values) {
    for (const T b : values) examples.push_back({{bits(a), bits(b)}, {bits(expected(a, b))}});
  }
  check_form({opcode + " %o0, %i0, %i1;", {letter<T>(), letter<T>()}, {letter<R>()}}, examples);
}

template <class T, class U, class R>
void check_ternary(const std::string& opcode, const std::vector<T>& values, const std::vector<U>& addends,
                   R (*expected)(T, T, U)) {
  std::vector<Example> examples;
  for (const T a : values) {
    for (const T b : values) {
      for (const U c : addends) examples.push_back({{bits(a), bits(b), bits(c)}, {bits(expected(a, b, c))}});
    }
  }
  check_form({opcode + " %o0, %i0, %i1, %i2;", {letter<T>(), letter<T>(), letter<U>()}, {letter<R>()}}, examples);
}

/// Text of a module with one entry `test` whose `pointers` parameters of 64 bits stand in %ptr0, %ptr1, ... (as global
/// addresses) and whose body may use %tx (thread), %cta, %index (the two combined), %lane and the registers of Form.
std::string kernel_text(std::string_view body, unsigned pointers, std::string_view module_scope = {});

/// A module with its memory: a whole program for tests that are more than one instruction.
class Bench {
 public:
  explicit Bench(std::string_view text) : module(Module::parse(text)) {}

  template <class T>
  std::uint64_t upload(const std::vector<T>& values, std::string label = "data") {
    const std::uint64_t address = memory.allocate(values.size() * sizeof(T), std::move(label));
    if (!values.empty()) memory.write(address, std::as_bytes(std::span(values)));
    return address;
  }
  template <class T>
  std::uint64_t zeros(std::size_t count, std::string label = "zeros") {
    return upload(std::vector<T>(count), std::move(label));
  }
  template <class T>
  std::vector<T> download(std::uint64_t address, std::size_t count) const {
    std::vector<T> values(count);
    memory.read(address, std::as_writable_bytes(std::span(values)));
    return values;
  }
  /// Launches entry `test` (or options.grid of it) with 64-bit arguments.
  LaunchStats launch(const std::vector<std::uint64_t>& arguments, const LaunchOptions& options) {
    return ptx::launch(module, memory, "test", std::as_bytes(std::span(arguments)), options);
  }

  Module module;
  Memory memory;
};

/// `lanes` threads in one CTA.
inline LaunchOptions one_cta(std::uint32_t lanes = 32) {
  LaunchOptions options;
  options.block = {lanes, 1, 1};
  return options;
}

/// What MachineError says when `action` runs; fails the test unless it throws one of class `fault`.
template <class Action>
std::string message_of(Fault fault, Action&& action) {
  try {
    action();
  } catch (const MachineError& error) {
    INFO(error.what());
    CHECK(to_string(error.fault()) == to_string(fault));
    return error.what();
  }
  FAIL_CHECK("expected a MachineError of class " << to_string(fault));
  return {};
}

/// Message with which the module around `body` is refused, which must name `needle`.
void check_refused(std::string_view body, std::string_view needle, Fault fault = Fault::unsupported);

/// All 32 rows {lane} or any function of the lane.
template <class F>
std::vector<Words> rows_of(std::size_t count, F&& row) {
  std::vector<Words> rows;
  for (std::size_t lane = 0; lane < count; ++lane) rows.push_back(row(static_cast<std::uint32_t>(lane)));
  return rows;
}

/// Output `operand` of every row.
inline Words column(const std::vector<Words>& rows, std::size_t operand = 0) {
  Words result;
  for (const Words& row : rows) result.push_back(row.at(operand));
  return result;
}

}  // namespace librt::ptx::test
