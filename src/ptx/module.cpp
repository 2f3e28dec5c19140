// From text to Program: module-scope variables, and each entry through its decoder.
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <set>
#include <string_view>
#include <utility>

#include "src/ptx/decoder.hpp"
#include "src/ptx/machine.hpp"
#include "src/ptx/syntax.hpp"

namespace librt::ptx {
namespace {

// Of a module's .global and .const variables together: each launch into a new Memory writes them all.
constexpr std::uint64_t kMostVariableBytes = std::uint64_t{1} << 28;

[[noreturn]] void fail(const VariableDeclaration& declaration, Fault fault, std::string_view what) {
  throw MachineError(fault, fmt::format("line {}: variable '{}': {}", declaration.line, declaration.name, what));
}

std::uint64_t initial_bits(const VariableDeclaration& declaration, const Operand& value) {
  const auto bits = static_cast<std::uint64_t>(value.value);
  const Type type = declaration.type;
  if (value.kind == Operand::Kind::f64 && type == Type::f32)
    return std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
  if (value.kind == Operand::Kind::f32 && type == Type::f64)
    return std::bit_cast<std::uint64_t>(static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits))));
  const bool real = value.kind != Operand::Kind::integer;
  if (real != (type == Type::f32 || type == Type::f64) && !(real && is_untyped(type)))
    fail(declaration, Fault::syntax, fmt::format("the initial value does not fit .{}", to_string(type)));
  return bits;
}

Variable build_variable(const VariableDeclaration& declaration, const std::map<std::string_view, Symbol>& globals) {
  Variable variable;
  variable.name = declaration.name;
  variable.constant = declaration.space == Space::constant;
  if (declaration.external) fail(declaration, Fault::unsupported, "an external variable has no definition here");
  const std::uint64_t elements = declaration.elements;
  if (declaration.unsized && elements == 0) fail(declaration, Fault::syntax, "an array without size and initialiser");
  const unsigned bytes = bytes_of(declaration.type);
  variable.bytes = elements * bytes;
  if (!declaration.initial.empty()) variable.initial.assign(variable.bytes, std::byte{0});
  for (const Initializer& initial : declaration.initial) {
    const std::uint64_t at = initial.element * bytes;
    if (initial.value.kind == Operand::Kind::name) {
      const auto target = globals.find(initial.value.name);
      if (target == globals.end())
        fail(declaration, Fault::syntax, fmt::format("'{}' in the initialiser is not a variable", initial.value.name));
      if (bytes != 8) fail(declaration, Fault::unsupported, "an address in elements that are not 64 bits wide");
      variable.pointers.push_back({at, target->second.variable, initial.value.value});
      continue;
    }
    const std::uint64_t bits = initial_bits(declaration, initial.value);
    std::memcpy(variable.initial.data() + at, &bits, bytes);
  }
  return variable;
}

}  // namespace

std::shared_ptr<const Program> build_program(std::string_view text, InstructionSet set) {
  const ModuleSyntax syntax = parse_syntax(text);
  auto program = std::make_shared<Program>();
  program->version = syntax.version;
  program->target = syntax.target;
  for (const auto& [number, name] : syntax.files) {
    if (number >= 65536)
      throw MachineError(Fault::unsupported, fmt::format("line 1: file number {} is not supported", number));
    if (program->files.size() <= number) program->files.resize(number + 1);
    program->files[number] = name;
  }
  std::map<std::string_view, Symbol> globals;
  std::vector<VariableDeclaration> shared;
  std::vector<const VariableDeclaration*> in_memory;
  for (const VariableDeclaration& declaration : syntax.variables) {
    if (declaration.space == Space::shared) {
      shared.push_back(declaration);
      continue;
    }
    const Symbol symbol{declaration.space, 0, static_cast<std::uint32_t>(in_memory.size()), false};
    if (!globals.try_emplace(declaration.name, symbol).second) fail(declaration, Fault::syntax, "it is declared twice");
    in_memory.push_back(&declaration);
  }
  std::uint64_t bytes = 0;
  for (const VariableDeclaration* declaration : in_memory) {
    bytes += declaration->elements * bytes_of(declaration->type);
    if (bytes > kMostVariableBytes)
      fail(*declaration, Fault::unsupported, fmt::format("more than {} bytes of variables", kMostVariableBytes));
    program->variables.push_back(build_variable(*declaration, globals));
  }
  std::set<std::string_view> entries;
  for (const EntrySyntax& entry : syntax.entries) {
    if (globals.contains(entry.name))
      throw MachineError(Fault::syntax,
                         fmt::format("line {}: '{}' is a variable and an entry", entry.line, entry.name));
    if (!entries.insert(entry.name).second)
      throw MachineError(Fault::syntax, fmt::format("line {}: entry '{}' is defined twice", entry.line, entry.name));
    program->kernels.push_back(KernelDecoder(globals, shared, entry, set).run());
  }
  return program;
}

std::string_view to_string(Fault fault) noexcept {
  switch (fault) {
    case Fault::syntax:
      return "syntax";
    case Fault::unsupported:
      return "unsupported";
    case Fault::launch:
      return "launch";
    case Fault::out_of_bounds:
      return "out of bounds";
    case Fault::misaligned:
      return "misaligned";
    case Fault::deadlock:
      return "deadlock";
    case Fault::illegal_sync:
      return "illegal sync";
    case Fault::trap:
      return "trap";
    case Fault::instruction_limit:
      return "instruction limit";
  }
  return "unknown";
}

MachineError::MachineError(Fault fault, const std::string& message) : std::runtime_error(message), fault_(fault) {}
MachineError::MachineError(Fault fault, const std::string& message, CodePlace place, std::optional<Accessed> accessed)
    : std::runtime_error(message),
      fault_(fault),
      place_(std::make_shared<const CodePlace>(std::move(place))),
      accessed_(std::move(accessed)) {}
MachineError::~MachineError() = default;

std::string to_string(const CodePlace& place) {
  const std::string source =
      place.source_line == 0 ? "" : fmt::format(" ({}:{})", place.source_file, place.source_line);
  return fmt::format("line {}{}: '{}', lane {} of warp {} of CTA ({}, {}, {})", place.line, source, place.instruction,
                     place.lane, place.warp, place.cta.x, place.cta.y, place.cta.z);
}

Module::Module(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

Module Module::parse(std::string_view text) {
  return Module(build_program(text, native_instruction_set()));
}

const std::string& Module::target() const noexcept {
  return program_->target;
}
const std::string& Module::version() const noexcept {
  return program_->version;
}

std::vector<std::string> Module::entries() const {
  std::vector<std::string> names;
  for (const Kernel& kernel : program_->kernels) names.push_back(kernel.name);
  return names;
}

}  // namespace librt::ptx
