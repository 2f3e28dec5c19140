// Parses any bytes as PTX, and runs what is a module: a kernel may fail in any way that MachineError names, and in no
// other. Under labels and sanitizers it must do the same as without.
//
// Input: the text; after its last NUL byte, if there is one, up to 16 bytes that choose the launch (see Choices).
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/ptx/instrumented.hpp"
#include "src/ptx/machine.hpp"
#include "src/ptx/program.hpp"
#include "src/ptx/taint.hpp"

using namespace librt::ptx;

namespace {

constexpr std::size_t kBufferBytes = 4096;
constexpr std::uint64_t kMostVariableBytes = 1u << 20, kMostLocalBytes = 1u << 16, kMostRegisterBytes = 1u << 22;

/// One byte after the other, zeros when they are used up.
class Choices {
 public:
  explicit Choices(std::string_view bytes) : bytes_(bytes) {}
  unsigned next() { return at_ < bytes_.size() ? static_cast<unsigned char>(bytes_[at_++]) : 0u; }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

LaunchOptions launch_options(Choices& choices, const Kernel& kernel) {
  constexpr std::array<std::uint32_t, 4> kThreads = {32, 64, 1, 50};
  LaunchOptions options;
  options.grid = {1 + choices.next() % 2, 1, 1};
  options.block = {kThreads[choices.next() % kThreads.size()], 1, 1};
  const auto& required = kernel.required_block;
  if (required[0] != 0) options.block = {required[0], required[1], required[2]};
  options.dynamic_shared_bytes = choices.next() * 16;
  options.copy_timing = static_cast<CopyTiming>(choices.next() % 3);
  options.seed = choices.next();
  options.max_warp_instructions = 20000;
  return options;
}

bool is_small(const Program& program, const Kernel& kernel) {
  std::uint64_t bytes = 0;
  for (const Variable& variable : program.variables) bytes += variable.bytes;
  const auto& block = kernel.required_block;
  const bool few_threads = std::uint64_t{block[0]} * block[1] * block[2] <= 64;
  return bytes <= kMostVariableBytes && kernel.local_bytes <= kMostLocalBytes &&
         kernel.register_bytes <= kMostRegisterBytes && few_threads;
}

struct Outcome {
  std::optional<Fault> fault;
  std::uint64_t instructions = 0;
  std::vector<std::byte> buffer;
};

/// Parameters of 8 bytes are addresses in one buffer of counting bytes, others small numbers.
std::vector<std::byte> parameters(Choices choices, const Kernel& kernel, std::uint64_t buffer) {
  std::vector<std::byte> bytes(kernel.parameter_bytes);
  for (const Parameter& parameter : kernel.parameters) {
    std::uint64_t value = choices.next();
    if (parameter.bytes == 8) value = buffer + value * 16;
    std::memcpy(bytes.data() + parameter.offset, &value, std::min<std::size_t>(parameter.bytes, sizeof value));
  }
  return bytes;
}

template <class Launch>
Outcome run(const Kernel& kernel, const Choices& choices, const Launch& launch) {
  Memory memory;
  const std::uint64_t buffer = memory.allocate(kBufferBytes, "buffer");
  Outcome outcome;
  outcome.buffer.resize(kBufferBytes);
  for (std::size_t i = 0; i < kBufferBytes; ++i) outcome.buffer[i] = static_cast<std::byte>(i);
  memory.write(buffer, outcome.buffer);
  try {
    outcome.instructions = launch(memory, buffer, parameters(choices, kernel, buffer)).warp_instructions;
  } catch (const MachineError& error) {
    outcome.fault = error.fault();
    if (std::string_view(error.what()).empty()) std::abort();
  }
  memory.read(buffer, outcome.buffer);
  return outcome;
}

void run_all(const Module& module, const Kernel& kernel, Choices choices) {
  const LaunchOptions options = launch_options(choices, kernel);
  const Outcome plain = run(kernel, choices, [&](Memory& memory, std::uint64_t, const std::vector<std::byte>& params) {
    return launch(module, memory, kernel.name, params, options);
  });
  const Outcome labelled =
      run(kernel, choices, [&](Memory& memory, std::uint64_t buffer, const std::vector<std::byte>& params) {
        TaintMap map(memory);
        map.label(buffer + kBufferBytes / 2, kBufferBytes / 4, 1);
        map.label(buffer + kBufferBytes / 4 * 3, kBufferBytes / 4, 0xff);
        const TaintReport report = launch_tainted(module, memory, map, kernel.name, params, options);
        for (const TaintFinding& finding : report.findings)
          if (to_string(finding).empty()) std::abort();
        if (map.read(buffer, kBufferBytes).size() != kBufferBytes) std::abort();
        return report.stats;
      });
  const Outcome checked =
      run(kernel, choices, [&](Memory& memory, std::uint64_t buffer, const std::vector<std::byte>& params) {
        TaintMap taint(memory);
        SanitizerMap defects(memory);
        taint.label(buffer, kBufferBytes, 3);
        const InstrumentedReport report =
            launch_instrumented(module, memory, &taint, &defects, kernel.name, params, options);
        for (const SanitizerFinding& finding : report.defects)
          if (to_string(finding).empty()) std::abort();
        if (!report.completed && report.defects.empty()) std::abort();
        return report.completed ? report.stats : LaunchStats{};
      });
  if (plain.fault != labelled.fault) std::abort();
  // What a launch that failed leaves in memory is unspecified.
  if (plain.fault) return;
  for (const Outcome& other : {labelled, checked})
    if (plain.buffer != other.buffer || plain.instructions != other.instructions) std::abort();
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Bytes alone seldom give another module: half of the time whole lines are dropped, doubled, exchanged or cut, or one
/// word of the text is put in the place of another.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned int seed) {
  std::minstd_rand random(seed);
  if (random() % 2 == 0 || size < 2) return LLVMFuzzerMutate(data, size, max_size);
  std::string text(reinterpret_cast<const char*>(data), size);
  const auto part = [&](std::string_view ends) {
    const std::size_t at = text.find_last_of(ends, random() % text.size()),
                      first = at == std::string::npos ? 0 : at + 1;
    return std::pair(first, std::min(text.find_first_of(ends, first), text.size()) - first);
  };
  for (auto edits = 1 + random() % 3; edits > 0; --edits) {
    const std::string_view ends = random() % 2 == 0 ? "\n" : " ,;.[]{}()+\n";
    const auto [from, from_size] = part(ends);
    const auto [to, to_size] = part(ends);
    const std::string copy = text.substr(from, from_size);
    switch (random() % 4) {
      case 0:
        text.erase(to, to_size);
        break;
      case 1:
        text.insert(to, copy + text[std::min(from + from_size, text.size() - 1)]);
        break;
      default:
        text.replace(to, to_size, copy);
    }
    if (text.size() < 2) return LLVMFuzzerMutate(data, size, max_size);
  }
  text.resize(std::min(text.size(), max_size));
  std::memcpy(data, text.data(), text.size());
  return text.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.rfind('\0');
  const std::string_view text = input.substr(0, end);
  const Choices choices(end == std::string_view::npos ? std::string_view{} : input.substr(end + 1));
  try {
    const Module module = Module::parse(text);
    for (const Kernel& kernel : module.program().kernels)
      if (is_small(module.program(), kernel)) run_all(module, kernel, choices);
  } catch (const MachineError& error) {
    if (error.fault() != Fault::syntax && error.fault() != Fault::unsupported) std::abort();
  }
  return 0;
}
