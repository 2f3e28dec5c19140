// The syntax tree of a module: what the text says, before any instruction is understood. All names and texts are parts
// of the module text, which must outlive the tree.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/ptx/types.hpp"

namespace librt::ptx {

struct Operand {
  enum class Kind : std::uint8_t {
    name,     ///< register, symbol, label or special register, with an optional displacement in `value`
    integer,  ///< `value`
    f32,      ///< 0fXXXXXXXX: bits in `value`
    f64,      ///< 0dXXXXXXXXXXXXXXXX or a decimal literal: bits in `value`
    vector,   ///< {a, b, ...}: `elements`
    address,  ///< [base + displacement]: `name` may be empty; `value` is the displacement
    list,     ///< (a, b, ...) of a call
  };
  Kind kind = Kind::integer;
  std::string_view name;
  std::string_view second;  ///< q of `p|q`
  std::int64_t value = 0;
  bool negated = false;  ///< !p
  std::vector<Operand> elements;
};

struct InstructionSyntax {
  std::string_view guard;
  bool guard_negated = false;
  std::string_view opcode;
  std::vector<Operand> operands;
  std::string text;
};

struct RegisterDeclaration {
  Type type = Type::none;
  std::string_view name;
  std::optional<std::uint32_t> count;  ///< of %r<count>
};

struct Initializer {
  Operand value;              ///< number, or symbol with addend
  std::uint64_t element = 0;  ///< index in the flattened array
};

struct VariableDeclaration {
  Space space = Space::global;
  Type type = Type::none;
  std::string_view name;
  std::uint32_t line = 0;
  std::uint64_t align = 1, elements = 1;
  bool external = false;
  bool unsized = false;  ///< declared as name[]
  std::vector<Initializer> initial;
};

struct Statement {
  enum class Kind : std::uint8_t { instruction, label, registers, variable, branch_targets, open_scope, close_scope };
  Kind kind = Kind::instruction;
  std::uint32_t line = 0;
  std::uint32_t source_file = 0, source_line = 0;
  InstructionSyntax instruction;
  std::string_view label;  ///< also the name of .branchtargets
  std::vector<std::string_view> targets;
  std::vector<RegisterDeclaration> registers;
  VariableDeclaration variable;
};

struct EntrySyntax {
  std::string_view name;
  std::uint32_t line = 0;
  std::vector<VariableDeclaration> parameters;
  std::map<std::string, std::vector<std::uint32_t>, std::less<>> limits;  ///< maxntid, reqntid, ...
  std::vector<Statement> body;
};

struct ModuleSyntax {
  std::string version, target;
  std::map<std::uint32_t, std::string> files;
  std::vector<VariableDeclaration> variables;
  std::vector<EntrySyntax> entries;
};

/// Throws MachineError (syntax, unsupported) naming the line.
ModuleSyntax parse_syntax(std::string_view text);

}  // namespace librt::ptx
